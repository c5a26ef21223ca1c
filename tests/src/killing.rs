//! Killing the daemon with SIGKILL at random moments of what clients have it do.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Daemon;
use crate::mutate::Random;
use crate::plugging::from_env;

/// The kills of one test.
#[derive(Debug)]
pub struct Kills {
    /// How many there are to be.
    pub count: u64,
    /// Where the random numbers begin: to be named when the test fails.
    pub seed: u64,
    /// Those numbers, for other choices of the test too.
    pub random: Random,
    /// How long a round takes that nobody disturbs.
    round: Duration,
}

/// What is known of a kill.
#[derive(Debug)]
pub struct Killed {
    /// Microseconds after the client began.
    pub moment: usize,
    /// What the client had said on its standard output by its end.
    pub said: String,
}

impl Kills {
    /// As many as the environment variable `count` says, else `default`, at the moments of
    /// `KILL_SEED`.
    pub fn from_env(count: &str, default: u64) -> Kills {
        let seed = from_env("KILL_SEED", 1);
        let random = Random::new(seed);
        Kills { count: from_env(count, default), seed, random, round: Duration::ZERO }
    }

    /// Has virsh do `line`, undisturbed, to learn how long a round takes; what virsh said.
    pub fn measure(&mut self, daemon: &Daemon, line: &str) -> String {
        let begun = Instant::now();
        let output = virsh(daemon, line).output().expect("virsh runs");
        self.round = begun.elapsed();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Kills the daemon at a random moment while virsh has it do `line` (or just afterwards), waits
    /// for the end of virsh, and starts the daemon again.
    #[track_caller]
    pub fn strike(&mut self, daemon: &mut Daemon, line: &str) -> Killed {
        let client = virsh(daemon, line).spawn().expect("virsh runs");
        let moment = self.random.below(self.round.as_micros() as usize * 11 / 10);
        std::thread::sleep(Duration::from_micros(moment as u64));
        daemon.kill();
        let output = client.wait_with_output().expect("virsh ends without its daemon");
        daemon.launch();
        Killed { moment, said: String::from_utf8_lossy(&output.stdout).into_owned() }
    }
}

fn virsh(daemon: &Daemon, line: &str) -> Command {
    let mut command = Command::new("virsh");
    command.args(["-c", &daemon.uri(), line]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}
