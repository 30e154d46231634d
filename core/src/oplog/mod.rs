//! The operation log: what this server executed, in the order in which it did.

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::ToString,
    sync::Arc,
};

use crate::{
    Error, ErrorKind, Path,
    calls::CallKey,
    wire::op::{LogRecord, MAX_PAGE, Reply},
};

/// The most operations that are kept in memory.
pub const MAX_RECORDS: usize = 8_192;
/// The most calls that wait for the next operation.
const MAX_WAITING: usize = 1_024;

/// What the log wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A reader is answered.
    Answer(CallKey, Result<Reply, Error>),
    /// An operation is to be kept for longer than memory lasts.
    Record(Operation),
}

/// One operation that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its place in the order of execution, from 1.
    pub seq: u64,
    /// When, in microseconds since 1970.
    pub time: u64,
    /// Who asked, as the client named itself.
    pub who: Arc<str>,
    /// The command line's word for it.
    pub verb: &'static str,
    /// The anchor beneath this server.
    pub path: Path,
    /// What went wrong, if anything did.
    pub error: Option<ErrorKind>,
}

impl Operation {
    /// The same, as it is told to others.
    pub fn to_record(&self) -> LogRecord {
        LogRecord {
            seq: self.seq,
            time: self.time,
            who: self.who.to_string(),
            verb: self.verb.to_string(),
            path: self.path.clone(),
            outcome: self.error.map_or_else(|| "ok".to_string(), |kind| kind.to_string()),
        }
    }
}

/// The last operations, and who waits for the next.
#[derive(Debug, Default)]
pub struct OpLog {
    /// The server's start.
    start: u32,
    /// Whether operations are kept for longer than memory lasts.
    keep: bool,
    records: VecDeque<Operation>,
    /// How many operations there were.
    count: u64,
    waiting: BTreeMap<CallKey, u64>,
    out: VecDeque<Output>,
}

impl OpLog {
    /// The log of a server's `start`-th start, of which every operation is also
    /// kept elsewhere if `keep`.
    pub fn new(start: u32, keep: bool) -> Self {
        Self { start, keep, ..Self::default() }
    }

    /// The world happened: an operation was executed at `time` (microseconds
    /// since 1970).
    pub fn handle_executed(
        &mut self,
        time: u64,
        who: Arc<str>,
        verb: &'static str,
        path: Path,
        error: Option<ErrorKind>,
    ) {
        self.count += 1;
        let record = Operation { seq: self.count, time, who, verb, path, error };
        if self.keep {
            self.out.push_back(Output::Record(record.clone()));
        }
        if self.records.len() == MAX_RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(record);
        if !self.waiting.is_empty() {
            for (key, after) in core::mem::take(&mut self.waiting) {
                self.read(key, self.start, after, true);
            }
        }
    }

    /// A command: answer `key` with what comes after operation `after` of the
    /// `start`-th start, at once or, if it may `wait`, as soon as there is any.
    pub fn read(&mut self, key: CallKey, start: u32, after: u64, wait: bool) {
        let after = if start == self.start { after } else { 0 };
        let oldest = self.count - self.records.len() as u64;
        let after = after.min(self.count);
        if after == self.count && wait {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.insert(key, after);
            } else {
                let error = Error::new(ErrorKind::QuotaExceeded, "too many follow the log");
                self.out.push_back(Output::Answer(key, Err(error)));
            }
            return;
        }
        let missed = oldest.saturating_sub(after);
        let skip = usize::try_from(after.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let records = self.records.iter().skip(skip).take(MAX_PAGE).map(Operation::to_record).collect();
        self.out.push_back(Output::Answer(key, Ok(Reply::Log { start: self.start, missed, records })));
    }

    /// The world happened: a call should end.
    pub fn handle_cancel(&mut self, key: CallKey, why: ErrorKind) {
        if self.waiting.remove(&key).is_some() {
            self.out.push_back(Output::Answer(key, Err(why.into())));
        }
    }

    /// What now?
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// How many operations there were.
    pub const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const KEY: CallKey = CallKey { registration: 1, seq: 1 };

    fn execute(log: &mut OpLog, times: u64) {
        for time in 0..times {
            log.handle_executed(time, "me".into(), "send", Path::root(), None);
        }
        while let Some(Output::Record(_)) = log.out.front() {
            log.out.pop_front();
        }
    }

    fn page(log: &mut OpLog) -> Option<(u64, Vec<u64>)> {
        match log.poll_output()? {
            Output::Answer(KEY, Ok(Reply::Log { start: 3, missed, records })) => {
                Some((missed, records.into_iter().map(|record| record.seq).collect()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reader_that_comes_too_late_is_told_how_much_it_missed() {
        let mut log = OpLog::new(3, true);
        execute(&mut log, MAX_RECORDS as u64 + 10);
        log.read(KEY, 3, 0, false);
        let (missed, seqs) = page(&mut log).unwrap();
        assert_eq!((missed, seqs[0], seqs.len()), (10, 11, MAX_PAGE));
        log.read(KEY, 3, seqs[seqs.len() - 1], false);
        assert_eq!(page(&mut log).unwrap().1[0], 11 + MAX_PAGE as u64);
    }

    #[test]
    fn who_follows_hears_of_the_next_operation_once_or_is_cancelled() {
        let mut log = OpLog::new(3, true);
        execute(&mut log, 3);
        log.read(KEY, 3, 3, true);
        assert_eq!(page(&mut log), None);
        log.handle_executed(9, "me".into(), "recv", Path::root(), Some(ErrorKind::Closed));
        assert!(matches!(log.poll_output(), Some(Output::Record(record)) if record.to_record().outcome == "closed"));
        assert_eq!(page(&mut log), Some((0, alloc::vec![4])));
        log.read(KEY, 2, 4, true);
        assert_eq!(page(&mut log), Some((0, alloc::vec![1, 2, 3, 4])), "those were of another start");
        log.read(KEY, 3, 99, true);
        log.handle_cancel(KEY, ErrorKind::Cancelled);
        assert_eq!(log.poll_output(), Some(Output::Answer(KEY, Err(ErrorKind::Cancelled.into()))));
        assert_eq!(log.poll_output(), None);
    }
}
