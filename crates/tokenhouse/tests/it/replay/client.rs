//! A client of HTTP/1.1 that sends exactly the bytes of a transcript and reads exactly what comes back.
//! The one thing a newcomer would get wrong: a proper client library would escape, normalize or refuse the very paths and
//! header bytes that the transcripts are about; this one must stay too simple to help.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long one exchange may take before it counts as not answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request whose holes are filled.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: String,
    pub(super) path: Vec<u8>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Option<Vec<u8>>,
}

impl Outgoing {
    pub(super) fn shown_path(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }

    fn has(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    }

    /// `Host`, `Connection` and the body's `Content-Length` are added unless the transcript gives its own.
    fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut bytes = self.method.clone().into_bytes();
        bytes.push(b' ');
        bytes.extend_from_slice(&self.path);
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        let mut add = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        if !self.has("Host") {
            add("Host", address.to_string().as_bytes());
        }
        if !self.has("Connection") {
            add("Connection", b"close");
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        if let Some(body) = &self.body
            && !self.has("Content-Length")
            && !self.has("Transfer-Encoding")
        {
            add("Content-Length", body.len().to_string().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// What came back, framing removed.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// All values of one name, joined as if they had come in one line (RFC 9110, section 5.3).
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// Sends one request on a connection of its own and reads to the end of the connection, so that bytes after the answer
/// (a body to HEAD or 304, a second answer) are noticed.
pub(super) async fn send(address: SocketAddr, request: &Outgoing) -> io::Result<Answer> {
    let conversation = async {
        let mut stream = TcpStream::connect(address).await?;
        let (mut reading, mut writing) = stream.split();
        let sent = request.bytes(address);
        let mut received = Vec::new();
        // At the same time, and a failed write is no failure: a server may refuse a large body before it has read it.
        let (_, read) = tokio::join!(writing.write_all(&sent), reading.read_to_end(&mut received));
        // It may then also reset the connection after its answer; the answer decides.
        match (parse(&request.method, &received), read) {
            (Ok(answer), _) => Ok(answer),
            (Err(_), Err(error)) => Err(error),
            (Err(finding), Ok(_)) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{finding} in {:?}", String::from_utf8_lossy(&received)),
            )),
        }
    };
    tokio::time::timeout(PATIENCE, conversation)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn parse(method: &str, received: &[u8]) -> Result<Answer, &'static str> {
    let mut rest = received;
    loop {
        let end = find(rest, b"\r\n\r\n").ok_or("no complete head of an answer")?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|line| line.get(..3))
            .and_then(|digits| digits.parse::<u16>().ok())
            .ok_or("no status line of HTTP/1.1")?;
        // Interim answers (100 Continue) come before the real one.
        if (100..200).contains(&status) {
            continue;
        }
        let headers = lines
            .map(|line| {
                line.split_once(':')
                    .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or("a header without a colon")?;
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        answer.body = body(method, &answer, rest)?;
        return Ok(answer);
    }
}

/// RFC 9112, section 6.3: which bytes are the body.
fn body(method: &str, answer: &Answer, rest: &[u8]) -> Result<Vec<u8>, &'static str> {
    if method == "HEAD" || answer.status == 204 || answer.status == 304 {
        return if rest.is_empty() {
            Ok(Vec::new())
        } else {
            Err("a body where none may be")
        };
    }
    if answer
        .header("Transfer-Encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        return unchunked(rest);
    }
    let Some(length) = answer.header("Content-Length") else {
        return Ok(rest.to_vec());
    };
    let length: usize = length
        .parse()
        .map_err(|_| "a Content-Length that is no number")?;
    match rest.len().cmp(&length) {
        std::cmp::Ordering::Less => Err("a body shorter than its Content-Length"),
        std::cmp::Ordering::Equal => Ok(rest.to_vec()),
        std::cmp::Ordering::Greater => Err("bytes after the answer"),
    }
}

fn unchunked(mut rest: &[u8]) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "a broken chunk";
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n").ok_or(WRONG)?;
        let size = std::str::from_utf8(&rest[..end]).map_err(|_| WRONG)?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| WRONG)?;
        rest = &rest[end + 2..];
        if size == 0 {
            // Trailers, if any, end with a blank line of their own.
            return if rest.ends_with(b"\r\n") {
                Ok(body)
            } else {
                Err(WRONG)
            };
        }
        let chunk = rest.get(..size).ok_or(WRONG)?;
        body.extend_from_slice(chunk);
        rest = rest[size..].strip_prefix(b"\r\n").ok_or(WRONG)?;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
