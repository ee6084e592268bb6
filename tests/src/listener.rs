//! A listener of the feed, over a real WebSocket.

use crate::App;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, handshake::client::Request},
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open socket.
pub struct Listener(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Listener {
    /// Opens a socket at an address that begins with `http`, with these headers.
    pub async fn open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        connect_async(request(url, headers)?).await.map(|(socket, _)| Self(socket))
    }

    /// The same on a connection that takes in little that is not read.
    pub async fn open_narrow(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let request = request(url, headers)?;
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        let address = request.uri().authority().expect("an address").as_str().parse().expect("an address");
        let stream = MaybeTlsStream::Plain(socket.connect(address).await?);
        client_async(request, stream).await.map(|(socket, _)| Self(socket))
    }

    /// The next text, as JSON; pings are answered.
    pub async fn next(&mut self) -> Value {
        match self.next_message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("not a text: {other:?}"),
        }
    }

    /// The next text, as JSON; `None` if the connection has ended, however long that takes.
    pub async fn try_next(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next message that is no ping or pong; `None` if the connection has ended.
    pub async fn next_message(&mut self) -> Option<Message> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => return Some(message),
                    Some(Err(_)) | None => return None,
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a message within 20 s")
    }

    /// The code that the socket is closed with.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.next_message().await? {
                Message::Close(frame) => return frame.map(|frame| frame.code.into()),
                _ => continue,
            }
        }
    }

    /// Says something.
    pub async fn say(&mut self, said: &Value) {
        self.0.send(Message::text(said.to_string())).await.expect("it is sent");
    }
}

fn request(url: &str, headers: &[(&'static str, &str)]) -> Result<Request, Error> {
    let mut request = url.replacen("http", "ws", 1).into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    Ok(request)
}

impl App {
    /// Listens as the administrator; `query` is what follows the path. Returns when it hears everything from now
    /// on, with the id after which it does.
    pub async fn listen(&self, query: &str) -> (Listener, String) {
        self.listen_at(&self.url, query).await
    }

    /// The same at another api's address.
    pub async fn listen_at(&self, url: &str, query: &str) -> (Listener, String) {
        let url = format!("{url}/ws/transactions{query}");
        let bearer = format!("Bearer {}", self.admin_token());
        let mut listener = Listener::open(&url, &[("authorization", &bearer)]).await.expect("a socket");
        let hello = listener.next().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        (listener, hello["after"].as_str().expect("an id").to_owned())
    }
}
