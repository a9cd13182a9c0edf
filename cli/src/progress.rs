//! What a person sees of long work: a bar with rate and time left on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use retort_model::observe::Observer;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static CANCELLED: AtomicBool = AtomicBool::new(false);
/// Whether any work looks out for Ctrl-C.
static HEEDED: AtomicBool = AtomicBool::new(false);

/// The first Ctrl-C asks the work to stop at a safe point, the second ends the process at once; so does the first where
/// nothing looks out for it, since whatever is written is there whole or not at all.
pub fn catch_interrupts() {
    let installed = ctrlc::set_handler(|| {
        if CANCELLED.swap(true, Ordering::SeqCst) || !HEEDED.load(Ordering::SeqCst) {
            std::process::exit(i32::from(crate::commands::INTERRUPTED));
        }
        eprintln!("\nstopping at the next safe point; press Ctrl-C again to stop at once");
    });
    // Without a handler Ctrl-C just kills the process, which loses nothing that was acknowledged.
    let _ = installed;
}

/// Whether Ctrl-C was pressed.
pub fn cancelled() -> bool {
    HEEDED.store(true, Ordering::SeqCst);
    CANCELLED.load(Ordering::SeqCst)
}

/// Prints progress to standard error.
pub struct Progress {
    state: Mutex<State>,
    terminal: bool,
}

struct State {
    stage: String,
    total: Option<u64>,
    unit: String,
    bar: Option<ProgressBar>,
    /// Whether nothing was said of this stage yet.
    first: bool,
    begin: Instant,
    last_line: Instant,
}

/// Time between two plain lines.
const QUIET: Duration = Duration::from_secs(10);

impl Progress {
    pub fn new() -> Self {
        let now = Instant::now();
        let state = State {
            stage: String::new(),
            total: None,
            unit: String::new(),
            bar: None,
            first: true,
            begin: now,
            last_line: now,
        };
        Self { state: Mutex::new(state), terminal: std::io::stderr().is_terminal() }
    }

    /// What is shown; what a panic left of it is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Progress {
    fn started(&self, stage: &str, total: Option<u64>, unit: &str) {
        let now = Instant::now();
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            let template = "{prefix:>12.cyan.bold} [{bar:28}] {pos}/{len} {msg} {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(stage.to_string());
            bar
        });
        *self.state() =
            State { stage: stage.into(), total, unit: unit.into(), bar, first: true, begin: now, last_line: now };
    }

    fn advanced(&self, done: u64, note: &str) {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(bar) = &state.bar {
            // What an earlier run did says nothing about the speed of this one.
            if std::mem::take(&mut state.first) {
                bar.set_position(done);
                bar.reset_eta();
            }
            bar.set_position(done);
            bar.set_message(note.to_string());
        } else if state.last_line.elapsed() >= QUIET {
            state.last_line = Instant::now();
            let total = state.total.map_or(String::new(), |total| format!("/{total}"));
            let elapsed = state.begin.elapsed().as_secs();
            let note = if note.is_empty() { String::new() } else { format!("{note}, ") };
            eprintln!("{}: {done}{total} {}, {note}{elapsed} s", state.stage, state.unit);
        }
    }

    fn finished(&self, summary: &str) {
        let mut state = self.state();
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        eprintln!("{}: {summary}, {:.1} s", state.stage, state.begin.elapsed().as_secs_f64());
    }

    fn remark(&self, line: &str) {
        match &self.state().bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    fn cancelled(&self) -> bool {
        cancelled()
    }
}
