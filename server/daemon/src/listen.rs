//! axum over TLS: one task a connection, bounded, and a handshake that must come to an end.

use anyhow::{Context as _, Result};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const MOST: usize = 30_000;
const HANDSHAKE: Duration = Duration::from_secs(10);
const STALLED: Duration = Duration::from_secs(120);
const HEAD: Duration = Duration::from_secs(20);

/// Binds at once, so that a taken port is told before anything else starts.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves until `cancel`; connections end with the process.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, router: Router, cancel: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(seat) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: let some connections end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        // A reader that takes nothing holds its seat no longer than this.
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(STALLED));
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let _seat = seat;
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
            // One request at a time on a connection: what is counted here is counted whole.
            let mut builder = Builder::new(TokioExecutor::new()).http1_only();
            builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
            // A console is a WebSocket: the connection goes on as something else.
            let service = TowerToHyperService::new(router);
            let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}
