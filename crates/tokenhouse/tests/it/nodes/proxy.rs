//! A way to the database that can be cut.
//!
//! The one thing to know: cut, it does not close anything. Bytes are swallowed and new connections stay without an answer,
//! as when a cable is pulled.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) struct Proxy {
    port: u16,
    cut: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// A way to a port of this machine.
    pub(super) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(watch::Sender::new(false));
        let switch = Arc::clone(&cut);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let switch = switch.subscribe();
                tokio::spawn(pass(near, to, switch));
            }
        });
        Self { port, cut, task }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Lets new connections through again. Those that were cut stay dead: what they swallowed is lost.
    pub(super) fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn pass(near: TcpStream, to: u16, mut switch: watch::Receiver<bool>) {
    // Without an answer until the way is there.
    if switch.wait_for(|cut| !cut).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let there = async {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = near_in.read(&mut buffer).await {
            if far_out.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = far_in.read(&mut buffer).await {
            if near_out.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    let is_cut = async {
        // An error is the end of the proxy, which is as good as a cut.
        let _ = switch.wait_for(|cut| *cut).await;
    };
    tokio::select! {
        () = there => {}
        () = back => {}
        // Both ends stay open and nothing passes, until the other end gives up.
        () = is_cut => std::future::pending::<()>().await,
    }
}
