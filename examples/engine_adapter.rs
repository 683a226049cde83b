//! The adapter that lets `blockjob vectors` run against this crate's engine.
//!
//! ```sh
//! cargo build --example engine_adapter
//! blockjob vectors --run --exec target/debug/examples/engine_adapter
//! ```
//!
//! One thread reads the orders and owns the main loop. Bodies run on workers and do nothing but what they are
//! ordered to: each takes orders from a channel, and says when it has carried one out. After every line the
//! adapter sends each body through a pause point and waits until it is back, parked, or has ended; so it knows
//! without waiting for time to pass that nothing more comes.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use blockjob::driver::{Driver, Errno, Flow, JobError, RunContext};
use blockjob::engine::{
    CancelMode, CreatedJob, EngineError, IoSide, JobHandle, JobOptions, MainLoop, Manager,
    ManagerConfig, Transaction,
};
use blockjob::model::{ErrorPolicy, Event, Status};
use blockjob::trace::{TraceEntry, TraceSink, TraceStep};
use serde_json::{Value, json};

type Answer<T> = Result<T, Box<dyn Error>>;

#[cfg_attr(test, allow(dead_code))]
fn main() -> Answer<()> {
    serve(io::stdin().lock(), io::stdout())
}

/// Serves one client until it goes away.
///
/// # Errors
///
/// It goes away in the middle of a line, or does not speak the protocol.
pub fn serve(from: impl BufRead, mut to: impl Write) -> Answer<()> {
    let mut bench = Bench::new();
    for line in from.lines() {
        let order: Value = serde_json::from_str(&line?)?;
        if order["do"] == "begin" {
            bench = Bench::new();
        } else {
            let answer = bench.carry_out(&order)?;
            for seen in bench.log.take().into_iter().chain(answer) {
                writeln!(to, "{seen}")?;
            }
            bench.settle();
            for seen in bench.log.take() {
                writeln!(to, "{seen}")?;
            }
        }
        writeln!(to, "{}", json!({"see": "rest"}))?;
        to.flush()?;
    }
    Ok(())
}

/// What the engine announces, as lines of the protocol.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Value>>>, Arc<Mutex<Vec<Sender<()>>>>);

impl Log {
    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TraceSink for Log {
    fn record(&self, entry: &TraceEntry<'_>) {
        let seen = match entry.step {
            TraceStep::Status(status) => {
                json!({"see": "status", "job": entry.job, "status": status.name()})
            }
            TraceStep::Event(event, detail) => {
                let mut seen = json!({"see": "event", "job": entry.job, "event": event.name()});
                match event {
                    Event::Completed { .. } => seen["error"] = detail.error.is_some().into(),
                    Event::Error { action } => seen["action"] = action.name().into(),
                    Event::Ready | Event::Pending | Event::Cancelled => {}
                }
                seen
            }
            _ => return,
        };
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(seen);
        drop(log);
        // A body that parks says so by its status alone.
        let news = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        for news in news.iter() {
            let _ = news.send(());
        }
    }
}

/// What a body is ordered to do.
enum Order {
    Point,
    Converge,
    IoError(ErrorPolicy),
    End(bool),
}

/// What a body and the adapter know of each other.
#[derive(Default)]
struct Shared {
    /// The last order was carried out.
    done: AtomicBool,
    /// It returns from its run.
    ending: AtomicBool,
    /// It was cancelled by force.
    forced: AtomicBool,
}

struct Puppet {
    orders: Mutex<Receiver<Order>>,
    /// Something in `shared` has changed.
    news: Sender<()>,
    shared: Arc<Shared>,
    can_complete: bool,
    prepare_fails: bool,
    lingers: bool,
}

impl Puppet {
    fn next(&self) -> Order {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to give orders.
        orders.recv().unwrap_or(Order::End(true))
    }

    fn tell(&self, what: &AtomicBool) {
        what.store(true, Ordering::Release);
        let _ = self.news.send(());
    }

    /// Whether the run goes on.
    fn goes_on(&self, flow: Flow) -> bool {
        let goes_on = flow == Flow::Continue || self.lingers;
        if goes_on {
            self.tell(&self.shared.done);
        }
        goes_on
    }

    fn obey(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
        loop {
            match self.next() {
                Order::Point => {
                    if !self.goes_on(context.pause_point()) {
                        return Ok(());
                    }
                }
                Order::IoError(policy) => {
                    // What the policy chose shows at the next pause point, and in the order that follows.
                    let _ = context.error_action(policy, IoSide::Read, Errno::IO);
                    if !self.goes_on(context.pause_point()) {
                        return Ok(());
                    }
                }
                Order::End(well) => return ended(well),
                Order::Converge => break,
            }
        }
        let mut context = context.ready();
        self.tell(&self.shared.done);
        loop {
            match self.next() {
                Order::Point | Order::Converge => {
                    if !self.goes_on(context.pause_point()) {
                        return Ok(());
                    }
                }
                Order::IoError(policy) => {
                    // What the policy chose shows at the next pause point, and in the order that follows.
                    let _ = context.error_action(policy, IoSide::Read, Errno::IO);
                    if !self.goes_on(context.pause_point()) {
                        return Ok(());
                    }
                }
                Order::End(well) => return ended(well),
            }
        }
    }
}

fn ended(well: bool) -> Result<(), JobError> {
    if well {
        Ok(())
    } else {
        Err(JobError::new(Errno::IO))
    }
}

impl Driver for Puppet {
    fn job_type(&self) -> &'static str {
        "puppet"
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        let result = self.obey(context);
        self.tell(&self.shared.ending);
        result
    }

    fn supports_complete(&self) -> bool {
        self.can_complete
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        let forced = force || !(ready && self.can_complete);
        if forced {
            self.tell(&self.shared.forced);
        }
        forced
    }

    fn prepare(&self) -> Result<(), JobError> {
        ended(!self.prepare_fails)
    }
}

/// A job, as the adapter holds it.
struct Held {
    handle: JobHandle,
    orders: Sender<Order>,
    news: Receiver<()>,
    shared: Arc<Shared>,
    lingers: bool,
    /// It was ordered something, and has not said that it is done.
    ordered: bool,
    started: bool,
}

struct Bench {
    log: Log,
    manager: Manager,
    main_loop: MainLoop,
    jobs: BTreeMap<String, Held>,
    alone: Option<CreatedJob>,
    transaction: Option<Transaction>,
}

impl Bench {
    fn new() -> Bench {
        let log = Log::default();
        let config = ManagerConfig::default()
            .virtual_time(true)
            .trace(Arc::new(log.clone()));
        let (manager, main_loop) = Manager::new(config);
        Bench {
            log,
            manager,
            main_loop,
            jobs: BTreeMap::new(),
            alone: None,
            transaction: None,
        }
    }

    /// Does what a line says; the answer, where there is one.
    fn carry_out(&mut self, order: &Value) -> Answer<Option<Value>> {
        let id = order["job"].as_str().unwrap_or_default();
        match order["do"].as_str().unwrap_or_default() {
            "create" => Ok(Some(answered(self.create(id, order), false))),
            "start" => {
                if let Some(transaction) = self.transaction.take() {
                    transaction.start();
                } else if let Some(created) = self.alone.take() {
                    created.start();
                }
                for held in self.jobs.values_mut() {
                    held.started = true;
                }
                Ok(Some(answered(Ok(()), false)))
            }
            "give-up" => {
                if let Some(created) = self.alone.take() {
                    created.early_fail();
                }
                Ok(Some(answered(Ok(()), false)))
            }
            "ask" => {
                let block = order["block-job"] == true;
                let verb = order["verb"].as_str().unwrap_or_default();
                if verb == "change" {
                    return Ok(Some(json!({"see": "cannot", "why": "there is no change"})));
                }
                Ok(Some(answered(self.ask(verb, id, block, order), block)))
            }
            "converge" => self.order(id, Order::Converge),
            "io-error" => {
                let policy = match order["action"].as_str() {
                    Some("stop") => ErrorPolicy::Stop,
                    Some("ignore") => ErrorPolicy::Ignore,
                    _ => ErrorPolicy::Report,
                };
                self.order(id, Order::IoError(policy))
            }
            "end" => self.order(id, Order::End(order["ok"] == true)),
            other => Err(format!("what is {other:?}?").into()),
        }
    }

    fn create(&mut self, id: &str, order: &Value) -> Result<(), EngineError> {
        let (orders, taken) = channel();
        let (news, told) = channel();
        let shared = Arc::new(Shared::default());
        let flag = |name: &str| order[name] == true;
        let puppet = Puppet {
            orders: Mutex::new(taken),
            news: news.clone(),
            shared: Arc::clone(&shared),
            can_complete: flag("can-complete"),
            prepare_fails: flag("prepare-fails"),
            lingers: flag("lingers"),
        };
        let options = JobOptions::new(id)
            .manual_finalize(!flag("auto-finalize"))
            .manual_dismiss(!flag("auto-dismiss"));
        let handle = if order["group"].is_null() {
            let created = self.manager.create(options, puppet)?;
            let handle = created.handle();
            self.alone = Some(created);
            handle
        } else {
            let manager = &self.manager;
            let transaction = self
                .transaction
                .get_or_insert_with(|| manager.transaction());
            transaction.create(options, puppet)?
        };
        let mut listeners = self.log.1.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(news);
        self.jobs.insert(
            id.to_owned(),
            Held {
                handle,
                orders,
                news: told,
                shared,
                lingers: flag("lingers"),
                ordered: false,
                started: false,
            },
        );
        Ok(())
    }

    fn ask(&self, verb: &str, id: &str, block: bool, order: &Value) -> Result<(), EngineError> {
        let job = if block {
            self.manager.block_job(id)?
        } else {
            self.manager.job(id)?
        };
        match verb {
            "pause" => job.pause(),
            "resume" => job.resume(),
            "cancel" if order["force"] == true => job.cancel(CancelMode::Force),
            "cancel" => job.cancel(CancelMode::Soft),
            "complete" => job.complete(),
            "finalize" => job.finalize(),
            "dismiss" => job.dismiss(),
            _ => job.set_speed(order["speed"].as_i64().unwrap_or_default()),
        }
    }

    fn order(&mut self, id: &str, order: Order) -> Answer<Option<Value>> {
        let held = self.jobs.get_mut(id).ok_or("an order to nobody")?;
        held.shared.done.store(false, Ordering::Release);
        held.ordered = true;
        held.orders.send(order)?;
        Ok(None)
    }

    /// Lets everything go on as far as it does by itself.
    fn settle(&mut self) {
        loop {
            let mut moved = self.main_loop.run_pending() > 0;
            let ids: Vec<String> = self.jobs.keys().cloned().collect();
            for id in ids {
                moved |= self.settle_one(&id);
            }
            if !moved {
                break;
            }
        }
    }

    /// Waits until a body is back from a pause point, parked, or taken over; whether the main loop has taken
    /// it over.
    fn settle_one(&mut self, id: &str) -> bool {
        let Some(held) = self.jobs.get_mut(id) else {
            return false;
        };
        if !held.started || held.handle.status().is_completed() {
            return false;
        }
        if !held.ordered {
            held.shared.done.store(false, Ordering::Release);
            held.ordered = held.orders.send(Order::Point).is_ok();
        }
        loop {
            let forced = held.shared.forced.load(Ordering::Acquire) && !held.lingers;
            if forced || held.shared.ending.load(Ordering::Acquire) {
                let handle = held.handle.clone();
                self.main_loop.run_until(|| handle.status().is_completed());
                return true;
            }
            if held.shared.done.load(Ordering::Acquire) {
                held.ordered = false;
                return false;
            }
            let info = held.handle.info();
            if info.status.is_parked() && info.pause_requested {
                return false;
            }
            if matches!(info.status, Status::Null) || held.news.recv().is_err() {
                return false;
            }
        }
    }
}

/// An answer, as a line of the protocol.
fn answered(result: Result<(), EngineError>, block: bool) -> Value {
    match result {
        Ok(()) => json!({"see": "answer", "ok": true}),
        // Its text goes on with the error that `prepare` failed with.
        Err(error @ EngineError::PrepareFailed { .. }) => {
            json!({"see": "answer", "ok": false, "class": error.class()})
        }
        Err(error) => {
            let class = error
                .refusal()
                .map_or(error.class(), |refusal| refusal.class(block));
            json!({"see": "answer", "ok": false, "class": class, "desc": error.to_string()})
        }
    }
}
