//! One replica under a scheduler that walks its requests in every batch: `sarathi`, or vLLM's of 2023. Batches go through pipeline
//! stages one behind the other.
//!
//! # Semantics
//!
//! What a request is, how it ends, when it is visible and what clients see is as in [`crate::engine`]; what follows replaces the
//! engine loop and `schedule()` there. There is no prefix cache, no priority, no abort and no asynchronous scheduling.
//!
//! **State.** A request waits in `waiting`, is in one batch in flight, or is in `running` between two batches. It holds blocks
//! from its admission to its end or eviction. `target` is the prompt to compute: `input_tokens`, after an eviction the tokens
//! given so far as well. `free` are the blocks that nobody holds, `held` is the number of requests that hold some.
//!
//! **Loop.** With `n` pipeline stages up to `n` batches are in flight.
//!
//! ```text
//! event at now:
//!   if the first batch in flight ends now: give its tokens; who has all of them ends and frees its blocks, the others are appended
//!       to `running` in batch order
//!   take in the deliveries that are visible, in order, at the back of `waiting`
//!   while fewer than n batches are in flight and decide() finds a batch: send it into the pipeline
//! the next event is the end of the first batch in flight or, while fewer than n are, the next visibility
//! ```
//!
//! A decision that only evicted is repeated at once if nothing is in flight. That a batch moves on to its next stage is no event.
//!
//! **Pipeline.** A batch starts in stage `s` when it has left stage `s - 1` and the batch before it has left stage `s`: stages are
//! first in, first out, so the end of a batch is known when it is sent. What the slower of two neighbours waits for is a *bubble*.
//!
//! **A batch** has at most `cap = max_num_seqs / n` requests (rounded down, at least 1). One of a request with its prompt complete
//! computes one token, whose context is `input_tokens + given`.
//!
//! *decide()* of `sarathi` (chunk size `max_num_batched_tokens`):
//!
//! 1. From the front of `running`, up to `cap`: a request with its prompt incomplete is put aside; another one *decodes*.
//! 2. Those put aside get their next chunk: the rest of their prompt, at most the chunk size less the batch's tokens so far. Who
//!    would get nothing goes back to `running`, which is then sorted by arrival.
//! 3. From the front of `waiting`, until one cannot: admission, with a chunk as in 2. A request is never skipped.
//!
//! *decide()* of `vllm-2023` (padded tokens of a batch `max_num_batched_tokens`):
//!
//! 1. From the front of `waiting`, until one cannot: admission with the whole target, while (requests of the batch, this one
//!    included) times (their longest target) stays within the limit. If anyone was admitted that is the batch.
//! 2. Otherwise those in `running`, by arrival, up to `cap`, decode.
//!
//! **Decoding.** A request that decodes wants a free block, even in a step in which its last block has room. While there is none,
//! the last of `running` that has not had its turn is evicted; if there is no such request, it is evicted itself. Then it takes a
//! block if `input_tokens + given > block_size * blocks`.
//!
//! **Eviction.** All blocks are freed, all tokens given are kept and become part of `target`, nothing stays computed; the request
//! goes to the front of `waiting`.
//!
//! **Admission.** Needs `held < max_num_seqs`, a place in the batch, at least one token left, and `free - ceil(target /
//! block_size) >= floor(watermark * blocks)`; the watermark counts as 0 while nobody holds a block. All blocks of the target are
//! taken.
//!
//! **Tokens.** The batch that completes a target gives a token, and so does each decode: a request of `out` tokens takes part in
//! `out - 1` decodes.
//!
//! # Where they come from
//!
//! Sarathi-Serve (Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve", OSDI 2024) and vLLM
//! 0.1 (Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention", SOSP 2023), both as Vidur
//! simulates them, which the tests compare with batch by batch. Deliberate differences, which need blocks to run short or a full
//! batch: there a request evicted in the middle of its prompt keeps only the part computed as its prompt and decodes the rest; a
//! lone request that evicts itself, or that the watermark keeps out of an empty pool, is never scheduled again; chunks of step 2
//! may exceed `cap`.

mod decide;
mod live;
mod pipeline;
mod replica;

pub use replica::Replica;
