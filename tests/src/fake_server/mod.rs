//! A small model server on real time whose step costs are known: what a probe measures of it can be held against what is true.
//!
//! It schedules as vLLM v1 does (first come first served, chunked prefill under a token budget, KV blocks, preemption of the
//! youngest) and answers as vLLM's server does: `/v1/completions` in chunks of server-sent events, `/v1/models`, `/version`,
//! `/metrics`, the profiler's two routes. What can go wrong with a real server is injected by [`Faults`]. Needs `std` and
//! `serde_json` only.

mod engine;
mod exchange;
mod faults;
mod gauges;
mod routes;

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub use faults::{Every, Faults, Foreign, Outliers};

use engine::Engine;
use routes::Routes;

/// What a step costs, in milliseconds: `step + per_token T + hinge max(0, T - hinge_at) + per_decode n + per_context C + per_pair
/// P`, and `any_prefill` if it has any prefill. `T` are its tokens, decodes included; `n` its decodes and `C` the sum of their
/// contexts with the new token; `P` the pairs of query and key of its chunks: `k c + k (k + 1) / 2` for a chunk of `k` tokens after
/// `c` computed ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// Each step [ms].
    pub step: f64,
    /// Each token [ms].
    pub per_token: f64,
    /// Each token above `hinge_at`, besides [ms].
    pub hinge: f64,
    /// Tokens from which `hinge` counts.
    pub hinge_at: u32,
    /// Each decode [ms].
    pub per_decode: f64,
    /// Each token of a decode's context [ms].
    pub per_context: f64,
    /// Each pair of query and key of a prefill [ms].
    pub per_pair: f64,
    /// A step that has any prefill [ms].
    pub any_prefill: f64,
    /// From a request's arrival to its place in the queue, outside of steps [ms].
    pub request: f64,
}

impl Default for Coefficients {
    /// Steps of some 2 to 5 ms: short for tests, long against the noise of a busy machine.
    fn default() -> Coefficients {
        Coefficients {
            step: 1.8,
            per_token: 0.006,
            hinge: 0.0,
            hinge_at: 0,
            per_decode: 0.05,
            per_context: 0.0002,
            per_pair: 2e-6,
            any_prefill: 0.4,
            request: 1.0,
        }
    }
}

/// The engine's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens in one step.
    pub max_num_batched_tokens: u32,
    /// Running requests.
    pub max_num_seqs: u32,
    /// Prompt and answer together [tokens].
    pub max_model_len: u32,
    /// Tokens per KV block.
    pub block_size: u32,
    /// KV blocks, all of them usable.
    pub num_gpu_blocks: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_num_batched_tokens: 512, max_num_seqs: 8, max_model_len: 2048, block_size: 16, num_gpu_blocks: 2048 }
    }
}

/// Ends of connections, by which they are closed.
type Connections = Arc<Mutex<Vec<TcpStream>>>;

/// A running server; it stops when it is dropped.
pub struct FakeServer {
    address: SocketAddr,
    engine: Arc<Engine>,
    routes: Arc<Routes>,
    stopping: Arc<AtomicBool>,
    connections: Connections,
    threads: Vec<JoinHandle<()>>,
}

impl FakeServer {
    /// A server of model `fake` with the usual limits, on a free port of this machine.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(coefficients: Coefficients, faults: Faults) -> FakeServer {
        FakeServer::with_limits(coefficients, Limits::default(), faults)
    }

    /// The same with other limits.
    ///
    /// # Panics
    /// If no port is free.
    pub fn with_limits(coefficients: Coefficients, limits: Limits, faults: Faults) -> FakeServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let engine = Arc::new(Engine::new(coefficients, limits, faults.clone()));
        let routes = Arc::new(Routes { engine: engine.clone(), faults, asked: AtomicU32::new(0), profiled: AtomicU32::new(0) });
        let stopping = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let (running, stop) = (engine.clone(), stopping.clone());
        threads.push(std::thread::spawn(move || running.run(&stop)));
        let connections = Connections::default();
        let (serving, stop, open) = (routes.clone(), stopping.clone(), connections.clone());
        threads.push(std::thread::spawn(move || accept(&listener, &serving, &stop, &open)));
        FakeServer { address, engine, routes, stopping, connections, threads }
    }

    /// Where it answers, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests for completions so far, refused ones included.
    pub fn asked(&self) -> u32 {
        self.routes.asked.load(Ordering::Relaxed)
    }

    /// Calls of `/start_profile` so far.
    pub fn profiled(&self) -> u32 {
        self.routes.profiled.load(Ordering::Relaxed)
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.engine.gauges().steps
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.engine.wake();
        // Wakes the listener, which waits for a connection.
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for connection in self.connections.lock().expect("no thread panicked with the connections").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, routes: &Arc<Routes>, stopping: &AtomicBool, connections: &Connections) {
    while let Ok((stream, _)) = listener.accept() {
        if stopping.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(end) = stream.try_clone() {
            connections.lock().expect("no thread panicked with the connections").push(end);
        }
        let routes = routes.clone();
        std::thread::spawn(move || exchange::serve(stream, &routes));
    }
}
