//! Processes that outlive their server.

use rustix::process::Signal;

use crate::support::{Bed, Server};

/// A server with a directory, which is killed and started again.
struct Home {
    bed: Bed,
    server: Option<Server>,
    anchor: String,
}

impl Home {
    fn new() -> Self {
        let mut home = Self { bed: Bed::new(), server: None, anchor: String::new() };
        home.start();
        home
    }

    /// Starts it, for the first time or again.
    fn start(&mut self) {
        let server = self.bed.start("-hmac .hmac -a 127.0.0.1 -var var");
        self.bed.ok(&format!("echo {} > url", server.url));
        self.anchor = server.anchor.clone();
        self.server = Some(server);
    }

    /// Ends it by a signal, and waits until it has ended.
    fn end(&mut self, signal: Signal) {
        if let Some(server) = self.server.take() {
            server.signal(signal);
            server.end();
        }
    }

    fn script(&self, script: &str) -> String {
        format!("export CIRCUIT=url X={}; {script}", self.anchor)
    }

    fn ok(&self, script: &str) -> String {
        self.bed.ok(&self.script(script))
    }

    fn fails(&self, script: &str, status: i32, says: &str) {
        self.bed.fails(&self.script(script), status, says);
    }

    fn until(&self, script: &str, enough: impl Fn(&str) -> bool) {
        self.bed.until(&self.script(script), enough);
    }

    /// Makes a process that is to be kept. Its number, and its keeper's, are in
    /// `pid` and `keeper`.
    fn keep(&self, script: &str, more: &str) {
        let script = format!("echo $$ > pid; cut -d' ' -f4 /proc/$$/stat > keeper; {script}");
        let spec = format!(
            r#"{{"Path": "/bin/sh", "Args": ["-c", "{script}"], "Output": "file", "OnServerExit": "keep"{more}}}"#
        );
        self.bed.fed(&self.script("circuit mkproc $X/job/p"), &spec);
        self.until("cat keeper", |text| text.ends_with('\n'));
    }

    /// Waits until the one whose number is in that file has ended. Whoever is its
    /// parent by now may be slow to hear of it.
    fn is_gone(&self, file: &str) {
        let state = format!("cat /proc/$(cat {file})/stat || echo gone");
        self.until(&state, |stat| stat == "gone\n" || stat.contains(") Z "));
    }

    /// Neither the process nor its keeper is there any more, nor anything of them
    /// in the directory.
    fn nothing_is_left(&self) {
        self.is_gone("pid");
        self.is_gone("keeper");
        assert_eq!(self.ok("ls -A var/processes"), "");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Also of a test that failed nothing is to be left.
        let _ = self.bed.sh("[ -e keeper ] && kill -9 $(cat keeper)");
    }
}

#[test]
fn a_kept_process_outlives_its_server_and_nothing_of_its_output_is_lost() {
    let mut home = Home::new();
    home.keep("seq 300000; echo half >&2; read line; seq 300001 350000; echo $line; exit 7", "");
    home.ok("circuit stdout $X/job/p | head -n 100 > first; seq 100 | cmp - first");
    let before = home.ok("circuit peek -o json $X/job/p");
    assert!(before.contains(r#""Output":"file","OnServerExit":"keep"},"#), "{before}");
    for signal in [Signal::KILL, Signal::TERM, Signal::KILL] {
        home.end(signal);
        home.start();
        assert_eq!(home.ok("circuit ls -l $X/job"), home.ok("printf 'proc   %s\\n' $X/job/p"));
        assert_eq!(home.ok("circuit peek -o json $X/job/p"), before);
    }
    home.ok("kill -0 $(cat pid)");
    home.ok("echo hello | circuit stdin $X/job/p");
    let end = home.ok("circuit wait -o json $X/job/p");
    assert!(end.contains("\"Code\":7") && end.contains("\"exited\""), "{end}");
    home.end(Signal::KILL);
    home.start();
    assert_eq!(home.ok("circuit wait -o json $X/job/p"), end);
    home.ok("(seq 350000; echo hello) > all; circuit stdout $X/job/p | cmp - all");
    assert_eq!(home.ok("circuit stderr $X/job/p"), "half\n");
    home.ok("circuit scrub $X/job/p");
    home.nothing_is_left();
}

#[test]
fn one_that_ends_while_its_server_is_away_is_found_with_its_end() {
    let mut home = Home::new();
    home.keep("until [ -e go ]; do :; done; echo bye; kill -TERM $$", "");
    home.end(Signal::KILL);
    home.ok("touch go");
    home.is_gone("pid");
    home.start();
    let end = home.ok("circuit wait -o json $X/job/p");
    assert!(end.contains(r#""Code":null,"Signal":"TERM""#), "{end}");
    assert_eq!(home.ok("circuit stdout $X/job/p"), "bye\n");
    home.fails("circuit signal KILL $X/job/p", 1, "the process has ended");
    home.ok("circuit scrub -kill $X/job/p");
    home.nothing_is_left();
}

#[test]
fn one_that_was_to_be_removed_at_its_end_is_not_found() {
    let mut home = Home::new();
    home.keep("until [ -e go ]; do :; done", r#", "Scrub": true"#);
    home.end(Signal::KILL);
    home.ok("touch go");
    home.is_gone("pid");
    home.start();
    assert_eq!(home.ok("circuit ls $X"), "");
    home.until("ls -A var/processes", str::is_empty);
    home.nothing_is_left();
}

#[test]
fn with_its_keeper_a_process_is_killed_and_the_server_says_so() {
    let mut home = Home::new();
    for again in [false, true] {
        home.keep("echo lost; exec sleep 1000", "");
        if again {
            home.end(Signal::KILL);
            home.start();
        }
        home.ok("kill -9 $(cat keeper)");
        let end = home.ok("circuit wait -o json $X/job/p");
        assert!(end.contains(r#""Signal":"KILL","Core":false,"Why":"its keeper was killed""#), "{end}");
        home.fails("circuit stdout $X/job/p", 1, "whoever kept the process was killed");
        home.nothing_is_left();
        home.ok("circuit scrub $X/job/p; rm keeper");
    }
    // While nobody looks.
    home.keep("exec sleep 1000", "");
    home.end(Signal::KILL);
    home.ok("kill -9 $(cat keeper)");
    home.is_gone("keeper");
    home.start();
    assert_eq!(home.ok("circuit ls $X"), "");
    home.nothing_is_left();
}

#[test]
fn removing_one_lets_it_go_on_and_no_server_finds_it_again() {
    let mut home = Home::new();
    home.keep("until [ -e go ]; do :; done; seq 200000; echo done > gone", "");
    home.end(Signal::KILL);
    home.start();
    home.ok("circuit scrub $X/job/p");
    home.until("ls -A var/processes", str::is_empty);
    home.end(Signal::KILL);
    home.start();
    assert_eq!(home.ok("circuit ls $X; kill -0 $(cat pid)"), "");
    home.ok("touch go");
    home.until("cat gone", |text| text == "done\n");
    home.nothing_is_left();
}

#[test]
fn one_that_is_removed_and_then_ends_takes_nothing_of_the_next_with_it() {
    let mut home = Home::new();
    home.keep("until [ -e go ]; do :; done", "");
    home.ok("circuit scrub $X/job/p; mv keeper first; rm pid");
    home.until("ls -A var/processes", str::is_empty);
    home.keep("exec sleep 1000", "");
    home.ok("touch go");
    home.is_gone("first");
    home.end(Signal::KILL);
    home.start();
    assert_eq!(home.ok("circuit ls $X/job"), home.ok("echo $X/job/p"));
    home.ok("circuit scrub -kill $X/job/p");
    home.nothing_is_left();
}

#[test]
fn removing_and_killing_one_ends_all_of_its_group() {
    let mut home = Home::new();
    home.keep("trap '' TERM; sleep 1000 & echo $!; wait", r#", "Grace": "5ms""#);
    home.end(Signal::TERM);
    home.start();
    let child = home.ok("circuit stdout $X/job/p | head -n 1");
    home.ok("circuit scrub -kill $X/job/p");
    assert_eq!(home.ok("ls -A var/processes; circuit ls $X"), "");
    home.until(&format!("kill -0 {} || echo gone", child.trim()), |said| said == "gone\n");
    home.nothing_is_left();
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let mut bed = Bed::with_servers(1);
    let keep = |output: &str| {
        format!(r#"echo '{{"Path": "/bin/cat"{output}, "OnServerExit": "keep"}}' | circuit mkproc $X/p"#)
    };
    bed.fails(&keep(""), 1, r#"needs Output: "file""#);
    bed.fails(&keep(r#", "Output": "file""#), 1, "needs a server that was started with -var");
    assert_eq!(bed.ok("circuit ls $X"), "");
    bed.add("-hmac .hmac -a 127.0.0.1 -var var -j $(cat url)");
    bed.until("circuit ls /", |listed| listed == bed.listing());
    bed.fails(&keep(r#", "Output": "file""#).replace("/bin/cat", "/nowhere"), 1, "no such file");
    bed.until("ls -A var/processes", str::is_empty);
    bed.fails("circuit keeper var < /dev/null", 1, "only a server starts a keeper");
    bed.ok("ls var");
}
