//! A media store on loopback that does what a test tells it to.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub(super) enum Mishap {
    /// This status, with a body.
    Status(u16, &'static str),
    /// The connection is cut after so many bytes of the body.
    CutAfter(usize),
    /// The connection is closed before any answer.
    Hangup,
    /// Nothing is sent for so long.
    Late(Duration),
    /// A redirect to this target.
    Redirect(String),
    /// These extra header lines.
    Headers(&'static str),
    /// At most so many bytes of what was asked for.
    Short(usize),
    /// The range is answered as if so many bytes later had been asked for.
    Shifted(u64),
    /// The answer is as it should be.
    Nothing,
}

pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) media_type: &'static str,
    pub(super) ranges: bool,
    pub(super) says_length: bool,
    /// Links with this query are expired.
    pub(super) expired: Option<&'static str>,
    /// One for each request to come.
    pub(super) mishaps: VecDeque<Mishap>,
    /// `Range` and `If-Range` of each request so far.
    pub(super) seen: Vec<(Option<String>, Option<String>)>,
    pub(super) connections: usize,
    /// Header lines of the last request.
    pub(super) headers: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) at: SocketAddr,
    content: Arc<Mutex<Content>>,
}

impl Server {
    /// Serves `bytes` with a strong ETag.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            at: listener.local_addr().unwrap(),
            content: Arc::new(Mutex::new(Content {
                bytes,
                etag: Some("\"one\"".into()),
                last_modified: None,
                media_type: "video/mp4",
                ranges: true,
                says_length: true,
                expired: None,
                mishaps: VecDeque::new(),
                seen: Vec::new(),
                connections: 0,
                headers: Vec::new(),
            })),
        };
        let serving = server.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(connection.unwrap()));
            }
        });
        server
    }

    pub(super) fn set<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        change(&mut self.content.lock().unwrap())
    }

    pub(super) fn link(&self, path_and_query: &str) -> String {
        format!("http://{}{path_and_query}", self.at)
    }

    /// The ranges asked for since the last call.
    pub(super) fn ranges(&self) -> Vec<String> {
        self.set(|content| content.seen.drain(..).map(|(range, _)| range.unwrap_or_default()).collect())
    }

    fn serve(&self, stream: TcpStream) {
        self.set(|content| content.connections += 1);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(keep) = self.answer(&mut reader, &stream) {
            if !keep {
                return;
            }
        }
    }

    fn answer(&self, reader: &mut BufReader<TcpStream>, mut out: &TcpStream) -> Option<bool> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                text => lines.push(text.to_owned()),
            }
        }
        let header = |name: &str| {
            lines.iter().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let (range, if_range) = (header("range"), header("if-range"));
        let mut content = self.content.lock().unwrap();
        content.seen.push((range.clone(), if_range.clone()));
        content.headers = lines.clone();
        let mishap = content.mishaps.pop_front().unwrap_or(Mishap::Nothing);
        if content.expired.is_some_and(|query| lines[0].contains(query)) {
            drop(content);
            let body = "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
            write!(out, "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
            return Some(true);
        }
        let size = content.bytes.len() as u64;
        let same = if_range.as_deref().is_none_or(|wanted| Some(wanted) == content.etag.as_deref());
        let mut asked = range.filter(|_| content.ranges && same).map(|range| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let last = if last.is_empty() { u64::MAX } else { last.parse::<u64>().unwrap() };
            (first.parse::<u64>().unwrap(), last.min(size.saturating_sub(1)))
        });
        let mut extra = String::new();
        let mut cut = usize::MAX;
        match mishap {
            Mishap::Status(status, body) => {
                drop(content);
                write!(out, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
                return Some(true);
            }
            Mishap::Redirect(target) => {
                drop(content);
                write!(out, "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n").ok()?;
                return Some(true);
            }
            Mishap::Hangup => return None,
            Mishap::Late(pause) => {
                drop(content);
                thread::sleep(pause);
                content = self.content.lock().unwrap();
            }
            Mishap::CutAfter(length) => cut = length,
            Mishap::Headers(lines) => extra.push_str(lines),
            Mishap::Short(length) => asked = asked.map(|(first, last)| (first, last.min(first + length as u64 - 1))),
            Mishap::Shifted(by) => asked = asked.map(|(first, last)| (first + by, last)),
            Mishap::Nothing => {}
        }
        let (status, first, last) = match asked {
            Some((first, _)) if first >= size => {
                write!(out, "HTTP/1.1 416 X\r\nContent-Range: bytes */{size}\r\nContent-Length: 0\r\n\r\n").ok()?;
                return Some(true);
            }
            Some((first, last)) => (206, first, last + 1),
            None => (200, 0, size),
        };
        let mut head = format!("HTTP/1.1 {status} OK\r\nContent-Type: {}\r\n{extra}", content.media_type);
        if status == 206 {
            head += &format!("Content-Range: bytes {first}-{}/{size}\r\n", last - 1);
        }
        for (name, value) in [("ETag", &content.etag), ("Last-Modified", &content.last_modified)] {
            if let Some(value) = value {
                head += &format!("{name}: {value}\r\n");
            }
        }
        let says_length = content.says_length;
        if says_length {
            head += &format!("Content-Length: {}\r\n", last - first);
        } else {
            head += "Connection: close\r\n";
        }
        let body = content.bytes[first as usize..last as usize].to_vec();
        drop(content);
        out.write_all((head + "\r\n").as_bytes()).ok()?;
        out.write_all(&body[..body.len().min(cut)]).ok()?;
        Some(says_length && cut == usize::MAX)
    }
}
