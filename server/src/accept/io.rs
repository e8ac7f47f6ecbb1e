//! A connection's bytes, with or without TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use muster::clock::WallTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::authority::PeerCertificate;
use crate::readers::Readers;

/// A peer's connection.
#[derive(Debug)]
pub enum PeerIo {
    /// As it came.
    Plain(TcpStream),
    /// After its handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

impl PeerIo {
    /// The certificate that the peer showed in its handshake: an agent's, unless there are `readers` and it is theirs.
    pub(crate) fn peer_certificate(
        &self,
        readers: Option<&Readers>,
        now: WallTime,
    ) -> Option<PeerCertificate> {
        let PeerIo::Tls(stream) = self else { return None };
        let chain = stream.get_ref().1.peer_certificates()?;
        let certificate = PeerCertificate::of(chain.first()?);
        Some(match readers {
            Some(readers) if !readers.is_agents(&certificate, chain, now) => certificate.into_readers(chain),
            _ => certificate,
        })
    }
}

impl AsyncRead for PeerIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PeerIo::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            PeerIo::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for PeerIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            PeerIo::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            PeerIo::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            PeerIo::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            PeerIo::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            PeerIo::Plain(stream) => stream.is_write_vectored(),
            PeerIo::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PeerIo::Plain(stream) => Pin::new(stream).poll_flush(cx),
            PeerIo::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PeerIo::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            PeerIo::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
