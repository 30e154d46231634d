//! What the demo says, at a pace at which it can be read.

use std::{fmt::Display, time::Duration};

use tokio::time;

use crate::{
    fault::Fault,
    print::{Format, FormatArgs, Out},
};

/// Before each paragraph.
const PARAGRAPH: Duration = Duration::from_millis(800);
/// Before each line that is an answer.
const LINE: Duration = Duration::from_millis(120);

pub(super) struct Tell {
    out: Out,
    begun: bool,
}

impl Tell {
    pub(super) fn new() -> Self {
        Self { out: Out::new(FormatArgs { format: Format::Text }), begun: false }
    }

    /// Begins a paragraph.
    pub(super) async fn say(&mut self, words: impl Display) -> Result<(), Fault> {
        if self.begun {
            self.print("").await?;
            time::sleep(PARAGRAPH).await;
        }
        self.begun = true;
        for line in words.to_string().lines() {
            self.print(line).await?;
        }
        Ok(())
    }

    /// What one could type for what is done next.
    pub(super) async fn command(&mut self, command: impl Display) -> Result<(), Fault> {
        time::sleep(LINE).await;
        self.print(&format!("  $ {command}")).await
    }

    /// What that answers.
    pub(super) async fn answer(&mut self, line: impl Display) -> Result<(), Fault> {
        time::sleep(LINE).await;
        self.print(&format!("  {line}")).await
    }

    async fn print(&mut self, line: &str) -> Result<(), Fault> {
        self.out.line(line).await?;
        Ok(self.out.flush().await?)
    }
}
