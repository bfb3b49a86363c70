//! What a send costs: our reactor on io_uring and on epoll, and tasks of glommio.
//!
//! Shape: one task for each connection, which waits for the bytes that all of them send, as a
//! player would wait for the next frame of its stream.

#[path = "../cores.rs"]
mod cores;
#[path = "../cpu_time.rs"]
mod cpu_time;
#[path = "../fanout.rs"]
mod fanout;
#[path = "../ours.rs"]
mod ours;

use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_lite::AsyncWriteExt;
use glommio::channels::local_channel::{LocalReceiver, LocalSender, new_unbounded};
use glommio::net::TcpStream;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use cpu_time::CpuTime;
use fanout::{CONNECTIONS, Fanout, SEND_BYTES};

/// What a task is told to send.
type Order = Rc<Vec<u8>>;

/// Its end of the connection, for glommio.
fn stream(sender: &impl std::os::fd::AsFd) -> TcpStream {
    let owned = sender.as_fd().try_clone_to_owned().expect("descriptors are left");
    // SAFETY: the descriptor was made a moment ago and belongs to nobody else.
    unsafe { TcpStream::from_raw_fd(owned.into_raw_fd()) }
}

/// The task of one connection.
async fn player(mut stream: TcpStream, orders: LocalReceiver<Order>, done: Rc<LocalSender<()>>) {
    while let Some(bytes) = orders.recv().await {
        stream.write_all(&bytes).await.expect("the peer is there");
        done.try_send(()).expect("the channel has no bound");
    }
}

struct Tasks {
    executor: LocalExecutor,
    orders: Vec<LocalSender<Order>>,
    done: LocalReceiver<()>,
}

impl Tasks {
    fn new(fanout: &Fanout) -> Self {
        let builder = LocalExecutorBuilder::new(Placement::Unbound);
        let executor = builder.make().expect("glommio finds its rings");
        let (finished, done) = new_unbounded();
        let finished = Rc::new(finished);
        let orders = executor.run(async {
            let spawn = |sender| {
                let (order, orders) = new_unbounded();
                let task = player(stream(sender), orders, Rc::clone(&finished));
                glommio::spawn_local(task).detach();
                order
            };
            fanout.senders.iter().map(spawn).collect()
        });
        Self { executor, orders, done }
    }

    /// All tasks send the same bytes, and the CPU time until the last of them has.
    fn tick(&self, bytes: &Order) -> u64 {
        self.executor.run(async {
            let begin = CpuTime::now();
            for order in &self.orders {
                order.try_send(Rc::clone(bytes)).expect("the channel has no bound");
            }
            for _ in 0..CONNECTIONS {
                self.done.recv().await.expect("tasks live as long as their orders");
            }
            CpuTime::now() - begin
        })
    }
}

fn glommio_tasks(criterion: &mut Criterion<CpuTime>) {
    let fanout = Fanout::new();
    let tasks = Tasks::new(&fanout);
    let mut group = criterion.benchmark_group("reactor");
    for len in SEND_BYTES {
        let bytes = Rc::new(vec![0x5a; len]);
        group.throughput(Throughput::Bytes((len * CONNECTIONS) as u64));
        group.bench_function(format!("glommio/{len}"), |bencher| {
            bencher.iter_custom(|ticks| {
                let mut spent = 0;
                for _ in 0..ticks {
                    spent += tasks.tick(&bytes);
                    fanout.drain(len);
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = reactor;
    config = Criterion::default().with_measurement(CpuTime);
    targets = ours::ours, glommio_tasks
}
criterion_main!(reactor);
