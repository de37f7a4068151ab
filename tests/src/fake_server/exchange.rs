//! HTTP/1.1 on one connection: requests in, answers out, one after the other.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::TcpStream;

use super::routes::Routes;

/// A request as it was read.
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// Without a query.
    pub path: String,
    /// Of the header `Authorization`, after `Bearer `.
    pub key: Option<String>,
    /// What came with it.
    pub body: Vec<u8>,
}

/// Serves a connection until it ends.
pub fn serve(stream: TcpStream, routes: &Routes) {
    let _ = stream.set_nodelay(true);
    let Ok(writer) = stream.try_clone() else { return };
    let (mut reader, mut writer) = (BufReader::new(stream), writer);
    while let Ok(Some(request)) = read(&mut reader) {
        if routes.answer(&request, &mut writer).is_err() {
            break;
        }
    }
    let _ = writer.shutdown(std::net::Shutdown::Both);
}

/// The next request; `None` if the other side has ended.
fn read(reader: &mut impl BufRead) -> Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let (mut length, mut key) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => key = value.trim().strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, key, body }))
}

/// An answer that is whole.
pub fn whole(writer: &mut impl Write, status: u16, kind: &str, body: &str) -> Result<()> {
    let head = format!("HTTP/1.1 {status} Status\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    writer.write_all((head + body).as_bytes())
}

/// The head of an answer in chunks of server-sent events.
pub fn begin_events(writer: &mut impl Write) -> Result<()> {
    writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n")
}

/// One event.
pub fn event(writer: &mut impl Write, data: &str) -> Result<()> {
    writer.write_all(format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8).as_bytes())
}

/// The end of the events.
pub fn end_events(writer: &mut impl Write) -> Result<()> {
    writer.write_all(b"0\r\n\r\n")
}
