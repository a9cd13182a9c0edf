//! Connections in, the engine's loop beside them, and an orderly end.

use crate::AnyEngine;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::queue::{Feed, Queue};
use crate::route::{App, answer};
use crate::settings::Settings;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use retort_model::generate::Generate;
use retort_model::observe::Observer;
use std::convert::Infallible;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;

/// An endpoint that listens and does not answer yet.
pub struct Server {
    listener: std::net::TcpListener,
    app: Arc<App>,
}

/// Between two looks at whether it is to end.
const NAP: Duration = Duration::from_millis(50);

impl Server {
    /// Listens at the address of `settings`; one that other machines can reach needs a key.
    pub fn bind(engine: AnyEngine, settings: Settings) -> Result<Self, Error> {
        let address = settings.address;
        if !address.ip().is_loopback() && settings.key.is_none() {
            return Err(Error::PublicWithoutKey { address });
        }
        let listener = std::net::TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        listener.set_nonblocking(true).map_err(Error::Runtime)?;
        let metrics = Arc::new(Metrics::default());
        let queue = Queue::new(settings.limits.queued, metrics.clone());
        let (counter, scoring) = (AtomicU64::new(1), Semaphore::new(1));
        Ok(Self { listener, app: Arc::new(App { engine, settings, queue, metrics, counter, scoring }) })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        self.listener.local_addr().map_err(Error::Runtime)
    }

    /// Answers until `observer` cancels; then takes nothing new and finishes what runs, as far as the limits allow.
    pub fn run(self, observer: &dyn Observer) -> Result<(), Error> {
        let Self { listener, app } = self;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Error::Runtime)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).map_err(Error::Runtime)?
        };
        let accepting = runtime.spawn(accept(listener, app.clone()));
        std::thread::scope(|scope| {
            let engine = scope.spawn(|| work(&app));
            while !observer.cancelled() && !engine.is_finished() {
                std::thread::sleep(NAP);
            }
            accepting.abort();
            app.queue.close(false);
            let begin = Instant::now();
            while !engine.is_finished() && begin.elapsed() < app.settings.limits.closing {
                std::thread::sleep(NAP);
            }
            app.queue.close(true);
            // A panic of the engine is one of this call.
            engine.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        // What was written last may still be on its way to the sockets.
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }
}

/// The engine's loop; a failure ends what runs and nothing else.
fn work(app: &App) {
    loop {
        let mut feed = Feed::new(&app.queue);
        if let Err(error) = app.engine.generate(&mut feed) {
            let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
            feed.fail(&format!("{error}{cause}"));
        }
        if app.queue.is_closed() {
            feed.fail("the endpoint closes");
            return;
        }
    }
}

async fn accept(listener: TcpListener, app: Arc<App>) {
    let limits = app.settings.limits;
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Usually too many open files; the next one may find room.
            tokio::time::sleep(NAP).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let app = app.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let app = app.clone();
                async move { Ok::<_, Infallible>(answer(app, request).await) }
            });
            let mut builder = http1::Builder::new();
            // The deadline for headers holds only where there is a timer.
            builder.timer(TokioTimer::new()).header_read_timeout(limits.reading).max_buf_size(limits.header_bytes);
            // A client that breaks off ends its own connection only.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}
