//! The server: started, asked, stopped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::folder;

/// Exit code of `serve.py` where the machine cannot have the server.
const UNAVAILABLE: i32 = 3;

/// The running server; it is stopped when this is dropped, and when this process ends, however it ends.
pub struct Server {
    process: Child,
    address: String,
    /// Folder of what it leaves: its log, the profiler's traces. It is removed with
    /// the server, unless the test fails.
    pub kept: PathBuf,
    /// Cores that this process had before.
    cores: String,
}

impl Server {
    /// Installs it, starts it and waits for it; what it leaves is in a folder of this name. `None`, with the reason printed, where
    /// there can be none.
    pub fn start(name: &str) -> Option<Server> {
        let kept = std::env::temp_dir().join(format!("tokentide-live-{name}-{}", std::process::id()));
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
        let mut command = Command::new(&python);
        command.arg("-B").arg(folder().join("serve.py")).arg("--with-parent").arg("--keep").arg(&kept);
        let mut process = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(process) => process,
            Err(error) => {
                println!("skipped: no Python to start the server with: {python}: {error}");
                return None;
            }
        };
        let mut said = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut said).expect("text");
        let Some((address, others)) = said.trim().strip_prefix("ready http://").and_then(|rest| rest.split_once(' ')) else {
            let status = process.wait().expect("it was started");
            assert_eq!(status.code(), Some(UNAVAILABLE), "serve.py broke: its reason is above");
            println!("skipped: there can be no vLLM here, for the reason above");
            return None;
        };
        let server = Server { process, address: address.to_owned(), kept, cores: cores_of_this_process() };
        keep_to(others);
        Some(server)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request on a connection of its own.
    pub fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_nodelay(true).expect("it is connected");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        let sent = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(sent.as_bytes()).expect("the server reads");
        stream
    }

    /// Status and body of an answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut answer = String::new();
        self.send(method, path, body).read_to_string(&mut answer).expect("the server answers text");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
    }

    /// Stops it; panics unless it ended in order, with nothing left.
    pub fn stop(mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().expect("it was started");
        assert!(status.success(), "serve.py: {status}: its reason is above");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
        keep_to(&self.cores);
        if std::thread::panicking() {
            println!("what there is of the failed test is in {}", self.kept.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.kept);
        }
    }
}

/// As `taskset` takes them: `0-1`, or nothing where they are not told.
fn cores_of_this_process() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default().trim().to_owned()
}

/// Keeps this process, and what it will start, to some cores: off that of the model's worker.
fn keep_to(cores: &str) {
    let arguments = ["-a", "-c", "-p", cores, &std::process::id().to_string()];
    let done = Command::new("taskset").args(arguments).stdout(Stdio::null()).status();
    if !done.is_ok_and(|status| status.success()) {
        println!("no taskset: the client may disturb the model's worker");
    }
}
