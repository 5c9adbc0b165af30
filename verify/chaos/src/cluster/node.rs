//! A node as faults see it: several of them may want it down or paused at once, and it comes back when the last
//! of them has ended. A process that ends though nobody ended it is noted: no node may do that.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Mutex as AsyncMutex;

use super::child::{Process, Recipe, last_words};

/// Whether a node's process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// It does.
    Up,
    /// It is stopped by a signal.
    Paused,
    /// There is none.
    #[default]
    Down,
}

/// A process that somebody else started, and may be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Foreign {
    pid: u32,
    /// When it began, as the kernel counts: another process of this number began at another time.
    began: u64,
}

impl Foreign {
    fn of(pid: u32) -> Option<Foreign> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of a program may have blanks and brackets in it: the last bracket ends it.
        let began = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some(Foreign { pid, began })
    }

    fn is_there(self) -> bool {
        Foreign::of(self.pid) == Some(self)
    }

    fn signal(self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.is_there()) {
            // It may end at this moment; then there is nothing to do.
            let _ = kill_process(pid, signal);
        }
    }
}

/// A node's process and what is done to it.
#[derive(Debug)]
pub struct Node {
    recipe: Recipe,
    foreign: Option<Foreign>,
    process_id: Mutex<Option<u32>>,
    state: AsyncMutex<State>,
    life: Mutex<Life>,
}

#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    /// How many faults want it down, and paused.
    downs: u32,
    pauses: u32,
    starts: u32,
}

impl Node {
    /// A node that does not run.
    pub fn new(recipe: Recipe) -> Node {
        let (process_id, state, life) = Default::default();
        Node { recipe, foreign: None, process_id, state, life }
    }

    /// A node that somebody else runs, and that may be paused.
    ///
    /// # Errors
    /// In words, if there is no such process.
    pub fn foreign(pid: u32) -> Result<Node, String> {
        let foreign = Foreign::of(pid).ok_or_else(|| format!("there is no process {pid}"))?;
        let recipe = Recipe {
            program: PathBuf::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            log: PathBuf::new(),
        };
        let node = Node { foreign: Some(foreign), ..Node::new(recipe) };
        node.set_life(Life::Up);
        Ok(node)
    }

    /// Its log.
    pub fn log(&self) -> &PathBuf {
        &self.recipe.log
    }

    /// Whether it runs.
    pub fn life(&self) -> Life {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_life(&self, life: Life) {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = life;
    }

    /// The number of its process, the last one that was started here.
    pub fn process_id(&self) -> Option<u32> {
        *self.process_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, unless it runs or a fault wants it down.
    ///
    /// # Errors
    /// In words, if the process cannot be started.
    pub async fn start(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        self.start_locked(&mut state)
    }

    fn start_locked(&self, state: &mut State) -> Result<(), String> {
        if state.downs > 0 || state.process.is_some() || self.foreign.is_some() {
            return Ok(());
        }
        let process = Process::start(&self.recipe)
            .map_err(|error| format!("{} cannot be started: {error}", self.recipe.program.display()))?;
        *self.process_id.lock().unwrap_or_else(PoisonError::into_inner) = process.id();
        state.process = Some(process);
        state.starts += 1;
        self.set_life(Life::Up);
        Ok(())
    }

    /// Takes it down, until [`Node::release`]: by `kill -9`, or in order. Returns whether it stopped in time.
    pub async fn take_down(&self, in_order: bool) -> bool {
        let mut state = self.state.lock().await;
        state.downs += 1;
        state.pauses = 0;
        let Some(process) = state.process.take() else { return true };
        self.set_life(Life::Down);
        if in_order {
            process.stop().await
        } else {
            process.kill().await;
            true
        }
    }

    /// A fault that took it down is over; it starts if that was the last.
    ///
    /// # Errors
    /// In words, if the process cannot be started.
    pub async fn release(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        state.downs = state.downs.saturating_sub(1);
        self.start_locked(&mut state)
    }

    /// Stops its process where it is, until [`Node::resume`].
    pub async fn pause(&self) {
        let mut state = self.state.lock().await;
        match (&state.process, self.foreign) {
            (Some(process), _) => process.signal(Signal::STOP),
            (None, Some(foreign)) => foreign.signal(Signal::STOP),
            (None, None) => return,
        }
        state.pauses += 1;
        self.set_life(Life::Paused);
    }

    /// A fault that paused it is over; it goes on if that was the last.
    pub async fn resume(&self) {
        let mut state = self.state.lock().await;
        state.pauses = state.pauses.saturating_sub(1);
        if state.pauses == 0 {
            self.go_on(&state);
        }
    }

    fn go_on(&self, state: &State) {
        match (&state.process, self.foreign) {
            (Some(process), _) => process.signal(Signal::CONT),
            (None, Some(foreign)) => foreign.signal(Signal::CONT),
            (None, None) => return,
        }
        self.set_life(Life::Up);
    }

    /// Whether it ended though nobody ended it: how, with its last words. It is started again.
    pub async fn ended_by_itself(&self) -> Option<String> {
        let mut state = self.state.lock().await;
        if self.foreign.is_some_and(|foreign| !foreign.is_there()) {
            self.set_life(Life::Down);
            return Some("it ended, and it was not started here".to_owned());
        }
        let status = state.process.as_mut()?.ended()?;
        state.process = None;
        self.set_life(Life::Down);
        let said = format!("it ended by itself, {status}; its last words: {}", last_words(self.log()));
        match self.start_locked(&mut state) {
            Ok(()) => Some(said),
            Err(error) => Some(format!("{said}\n{error}")),
        }
    }

    /// Everything that holds it back is over: it runs.
    ///
    /// # Errors
    /// In words, if the process cannot be started.
    pub async fn heal(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        (state.downs, state.pauses) = (0, 0);
        self.go_on(&state);
        self.start_locked(&mut state)
    }

    /// Ends it for good: in order, or killed. One that was not started here goes on.
    pub async fn end(&self, in_order: bool) -> bool {
        if let Some(foreign) = self.foreign {
            foreign.signal(Signal::CONT);
            return true;
        }
        let process = self.state.lock().await.process.take();
        self.set_life(Life::Down);
        match process {
            Some(process) if in_order => process.stop().await,
            Some(process) => {
                process.kill().await;
                true
            }
            None => true,
        }
    }

    /// How often it was started.
    pub async fn starts(&self) -> u32 {
        self.state.lock().await.starts
    }
}
