//! `millrace schedules`: jobs on a clock, through the API.

use crate::{
    access::Remote,
    client::{Answer, ApiClient, Listing},
    commands::runs::wait::until_ended,
    output::say,
    table::Table,
    usage::Usage,
    words,
};
use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::runs::RunState;
use std::time::Duration;

/// Jobs on a clock.
#[derive(Debug, Args)]
pub struct Schedules {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every schedule, and who fires them (also without a word).
    List,
    /// One schedule with its next times and its last ticks.
    Show {
        /// The schedule.
        name: String,
    },
    /// What a cron expression means, and its next five times.
    Cron {
        /// The expression, as one argument: "30 2 * * *".
        cron: String,
        /// The zone whose clock counts; the reporting zone if absent.
        #[arg(long)]
        zone: Option<String>,
    },
    /// Put a job on a clock.
    Create(Box<Create>),
    /// Change what is given; a new time counts from now on.
    Edit(Box<Edit>),
    /// Do not fire; what would come meanwhile is not caught up.
    Pause {
        /// The schedule.
        name: String,
        /// Why, for whoever wonders.
        #[arg(long)]
        reason: Option<String>,
        /// Fire again at this time: 2026-11-20T18:00:00Z or "2026-11-20 18:00" (UTC).
        #[arg(long, value_parser = words::parse_time, value_name = "TIME", conflicts_with = "duration")]
        until: Option<DateTime<Utc>>,
        /// Fire again after this time: 90s, 15m, 2h, 3d.
        #[arg(long = "for", value_parser = words::parse_duration, value_name = "DURATION")]
        duration: Option<Duration>,
    },
    /// Fire from now on.
    Enable {
        /// The schedule.
        name: String,
    },
    /// Run its job now.
    Run {
        /// The schedule.
        name: String,
        /// Other arguments, as JSON.
        #[arg(long, value_parser = object)]
        args: Option<Value>,
        /// Wait for the end of the run; fails unless it completes.
        #[arg(long)]
        wait: bool,
    },
    /// Delete it and the record of its ticks; its runs stay.
    Delete {
        /// The schedule.
        name: String,
    },
    /// Run times that have passed: those without a run, and those whose run failed.
    Backfill(Backfill),
    /// What somebody has to look at.
    Alerts {
        /// Also what has ended or was seen.
        #[arg(long)]
        all: bool,
    },
    /// Note that an alert was seen.
    Seen {
        /// Its number.
        id: i64,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// Its name, of a–z, 0–9 and the signs `.`, `_`, `-` between them
    name: String,
    /// The cron expression, as one argument: "15 * * * *".
    #[arg(long)]
    cron: String,
    /// The kind of job, see `millrace kinds`.
    #[arg(long)]
    kind: String,
    /// Make it paused.
    #[arg(long)]
    paused: bool,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Debug, Args)]
struct Edit {
    /// The schedule.
    name: String,
    /// Another name.
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// Another expression.
    #[arg(long)]
    cron: Option<String>,
    /// Another kind of job.
    #[arg(long)]
    kind: Option<String>,
    #[command(flatten)]
    rest: Rest,
}

/// What may be said of a schedule.
#[derive(Debug, Args)]
struct Rest {
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// The zone whose clock counts, such as Europe/Berlin.
    #[arg(long)]
    zone: Option<String>,
    /// Arguments of its runs, as JSON; {{ date }}, {{ date_before }} and {{ nominal_time }} are filled in.
    #[arg(long, value_parser = object)]
    args: Option<Value>,
    /// Priority of its runs; lower goes first.
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i16>,
    /// For times that do not exist, because the clock goes forward: skip or shift.
    #[arg(long, value_parser = ["skip", "shift"])]
    missing: Option<String>,
    /// For times that come twice, because the clock goes back: first, second or both.
    #[arg(long, value_parser = ["first", "second", "both"])]
    repeated: Option<String>,
    /// For ticks that were missed, because no scheduler ran: skip, once or all.
    #[arg(long, value_parser = ["skip", "once", "all"])]
    catch_up: Option<String>,
    /// How many of the last are caught up with `all`.
    #[arg(long)]
    catch_up_limit: Option<i32>,
    /// For ticks that come while a run goes on: skip, queue, cancel_running or allow.
    #[arg(long, value_parser = ["skip", "queue", "cancel_running", "allow"])]
    overlap: Option<String>,
}

#[derive(Debug, Args)]
struct Backfill {
    /// The schedule.
    name: String,
    /// From here on: a day (in the reporting zone) or an instant.
    #[arg(long)]
    from: String,
    /// To the end of this day, or before this instant; now if absent.
    #[arg(long)]
    until: Option<String>,
    /// Also those that are done already.
    #[arg(long)]
    all: bool,
    /// Runs at once, 1 to 50.
    #[arg(long, default_value_t = 2)]
    at_once: i32,
    /// Only list what it would run.
    #[arg(long)]
    preview: bool,
    /// Wait for its end; fails unless every time completes.
    #[arg(long, conflicts_with = "preview")]
    wait: bool,
}

fn object(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))?;
    if value.is_object() { Ok(value) } else { Err("arguments are a JSON object, such as {}".to_owned()) }
}

impl Rest {
    fn add_to(&self, body: &mut Map<String, Value>) {
        let fields = [
            ("description", self.description.as_ref().map(|text| json!(text))),
            ("zone", self.zone.as_ref().map(|text| json!(text))),
            ("args", self.args.clone()),
            ("priority", self.priority.map(|number| json!(number))),
            ("missing", self.missing.as_ref().map(|text| json!(text))),
            ("repeated", self.repeated.as_ref().map(|text| json!(text))),
            ("catch_up", self.catch_up.as_ref().map(|text| json!(text))),
            ("catch_up_limit", self.catch_up_limit.map(|number| json!(number))),
            ("overlap", self.overlap.as_ref().map(|text| json!(text))),
        ];
        body.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
}

/// A schedule, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    cron: String,
    cron_words: Option<String>,
    zone: String,
    kind: String,
    enabled: bool,
    paused: Option<Paused>,
    next_at: Option<DateTime<Utc>>,
    last_at: Option<DateTime<Utc>>,
    upcoming: Vec<Time>,
}

#[derive(Debug, Deserialize)]
struct Paused {
    until: Option<DateTime<Utc>>,
    reason: Option<String>,
    by: String,
}

#[derive(Debug, Deserialize)]
struct Time {
    at: DateTime<Utc>,
    local: String,
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tick {
    nominal_at: DateTime<Utc>,
    outcome: String,
    cause: String,
    reason: Option<String>,
    run_id: Option<String>,
    run_state: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Run {
    id: String,
}

/// Carries out `millrace schedules …`.
pub async fn schedules(args: Schedules) -> anyhow::Result<()> {
    let remote = &args.remote;
    let client = remote.connect().await?;
    match args.command.unwrap_or(Command::List) {
        Command::List => list(remote, &client).await,
        Command::Show { name } => show(remote, &client, &name).await,
        Command::Cron { cron, zone } => {
            let mut query = vec![("cron", cron)];
            query.extend(zone.map(|zone| ("zone", zone)));
            let answer = client.get(&["cron"], &query).await?;
            if !remote.json {
                let read: Value = answer.read()?;
                say(read["words"].as_str().unwrap_or_default());
                times(&serde_json::from_value::<Vec<Time>>(read["upcoming"].clone())?);
                return Ok(());
            }
            say(answer.text());
            Ok(())
        }
        Command::Create(new) => {
            let mut body = Map::new();
            for (name, value) in [("name", &new.name), ("cron", &new.cron), ("kind", &new.kind)] {
                body.insert(name.to_owned(), json!(value));
            }
            if new.paused {
                body.insert("enabled".to_owned(), json!(false));
            }
            new.rest.add_to(&mut body);
            let answer = client.post(&["schedules"], Some(&body.into())).await?;
            told(remote, &answer)
        }
        Command::Edit(edit) => {
            let mut body = Map::new();
            for (name, value) in [("name", &edit.rename), ("cron", &edit.cron), ("kind", &edit.kind)] {
                body.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
            }
            edit.rest.add_to(&mut body);
            if body.is_empty() {
                return Err(Usage::new("nothing is to be changed; see `millrace schedules edit --help`"));
            }
            let answer =
                client.send_json(Method::PATCH, &["schedules", &edit.name], Some(&body.into())).await?;
            told(remote, &answer)
        }
        Command::Pause { name, reason, until, duration } => {
            let until = until.or_else(|| Some(words::now() + duration?));
            let body = json!({ "reason": reason, "until": until });
            told(remote, &client.post(&["schedules", &name, "pause"], Some(&body)).await?)
        }
        Command::Enable { name } => told(remote, &client.post(&["schedules", &name, "enable"], None).await?),
        Command::Run { name, args, wait } => {
            let body = args.map(|args| json!({ "args": args }));
            let answer = client.post(&["schedules", &name, "run"], body.as_ref()).await?;
            started(remote, &client, &answer, wait).await.map(drop)
        }
        Command::Delete { name } => {
            let answer = client.send_json(Method::DELETE, &["schedules", &name], None).await?;
            say(if remote.json { answer.text().to_owned() } else { format!("Schedule {name} is deleted.") });
            Ok(())
        }
        Command::Backfill(backfill) => backfill.carry_out(remote, &client).await,
        Command::Alerts { all } => alerts(remote, &client, all).await,
        Command::Seen { id } => {
            let answer = client.post(&["alerts", &id.to_string(), "acknowledge"], None).await?;
            say(if remote.json { answer.text().to_owned() } else { format!("Alert {id} is noted as seen.") });
            Ok(())
        }
    }
}

/// Prints a schedule that was made or changed.
fn told(remote: &Remote, answer: &Answer) -> anyhow::Result<()> {
    if remote.json {
        say(answer.text());
        return Ok(());
    }
    let row: Row = answer.read()?;
    say(format!("{}: {} ({}), {}", row.name, row.words(), row.zone, row.state()));
    times(&row.upcoming);
    Ok(())
}

impl Row {
    fn words(&self) -> &str {
        self.cron_words.as_deref().unwrap_or(&self.cron).trim_end_matches('.')
    }

    fn state(&self) -> String {
        match &self.paused {
            None if self.enabled => "enabled".to_owned(),
            None => "paused".to_owned(),
            Some(paused) => {
                let until =
                    paused.until.map(|until| format!(" until {}", words::whole(until))).unwrap_or_default();
                let reason = paused.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                format!("paused by {}{until}{reason}", paused.by)
            }
        }
    }
}

fn times(times: &[Time]) {
    for time in times {
        let note = time.note.as_ref().map(|note| format!("   {note}")).unwrap_or_default();
        say(format!("  {}   {}{note}", time.local, words::whole(time.at)));
    }
}

async fn list(remote: &Remote, client: &ApiClient) -> anyhow::Result<()> {
    let answer = client.get(&["schedules"], &[]).await?;
    if remote.json {
        say(answer.text());
        return Ok(());
    }
    let whole: Value = answer.read()?;
    let mut table = Table::new(&["SCHEDULE", "CRON", "ZONE", "KIND", "STATE", "NEXT", "LAST"]);
    for item in answer.read::<Listing>()?.items {
        let row: Row = serde_json::from_value(item)?;
        let time = |time: Option<DateTime<Utc>>| time.map_or_else(|| "-".to_owned(), words::relative);
        let state = row.state();
        table.row([
            row.name,
            row.cron,
            row.zone,
            row.kind,
            words::cut(&state, 40),
            time(row.next_at),
            time(row.last_at),
        ]);
    }
    table.print();
    match whole["leader"].as_str() {
        Some(leader) => say(format!("Fired by {}.", leader.trim_start_matches("millrace-leader:"))),
        None => say("No scheduler leads: nothing fires. Start one: millrace scheduler"),
    }
    Ok(())
}

async fn show(remote: &Remote, client: &ApiClient, name: &str) -> anyhow::Result<()> {
    let answer = client.get(&["schedules", name], &[]).await?;
    told(remote, &answer)?;
    if remote.json {
        return Ok(());
    }
    let (_, ticks) = client.list(&["schedules", name, "ticks"], &[], 20).await?;
    if ticks.items.is_empty() {
        say("No tick has come yet.");
        return Ok(());
    }
    let mut table = Table::new(&["TICK", "OUTCOME", "CAUSE", "RUN", "STATE", "REASON"]);
    for item in ticks.items {
        let tick: Tick = serde_json::from_value(item)?;
        table.row([
            words::whole(tick.nominal_at),
            tick.outcome,
            tick.cause,
            tick.run_id.as_deref().map_or("-", words::short).to_owned(),
            tick.run_state.unwrap_or_default(),
            words::cut(&tick.reason.unwrap_or_default(), 60),
        ]);
    }
    table.print();
    Ok(())
}

/// Says which run was started; waits for it if that is wanted.
async fn started(
    remote: &Remote,
    client: &ApiClient,
    answer: &Answer,
    wait: bool,
) -> anyhow::Result<Option<Value>> {
    let run: Run = answer.read()?;
    say(if remote.json { answer.text().to_owned() } else { format!("run {}", run.id) });
    if !wait {
        return Ok(None);
    }
    let ended = until_ended(client, &run.id).await?;
    ended.expect(RunState::Completed)?;
    Ok(ended.result)
}

impl Backfill {
    async fn carry_out(&self, remote: &Remote, client: &ApiClient) -> anyhow::Result<()> {
        let path = ["schedules", self.name.as_str(), "backfill"];
        if self.preview {
            let mut query = vec![("from", self.from.clone()), ("all", self.all.to_string())];
            query.extend(self.until.clone().map(|until| ("until", until)));
            let answer = client.get(&path, &query).await?;
            return preview(remote, &answer);
        }
        let body =
            json!({ "from": self.from, "until": self.until, "all": self.all, "at_once": self.at_once });
        let answer = client.post(&path, Some(&body)).await?;
        let Some(result) = started(remote, client, &answer, self.wait).await? else { return Ok(()) };
        say(format!("{} times have run.", result["times"]));
        Ok(())
    }
}

fn preview(remote: &Remote, answer: &Answer) -> anyhow::Result<()> {
    if remote.json {
        say(answer.text());
        return Ok(());
    }
    let whole: Value = answer.read()?;
    let mut table = Table::new(&["TIME", "STANDS", "BACKFILL", "RUN"]);
    let past = whole["times"].as_array().context("the answer has no times")?;
    for time in past {
        let at: DateTime<Utc> = serde_json::from_value(time["nominal_at"].clone())?;
        let text = |name: &str| time[name].as_str().unwrap_or_default().to_owned();
        let would = if time["chosen"] == true { "would run" } else { "-" };
        table.row([
            words::whole(at),
            text("standing"),
            would.to_owned(),
            words::short(&text("run_id")).to_owned(),
        ]);
    }
    table.print();
    say(format!("{} of {} times would run.", whole["chosen"], past.len()));
    Ok(())
}

async fn alerts(remote: &Remote, client: &ApiClient, all: bool) -> anyhow::Result<()> {
    let answer = client.get(&["alerts"], &[("all", all.to_string())]).await?;
    if remote.json {
        say(answer.text());
        return Ok(());
    }
    let listing: Listing = answer.read()?;
    if listing.items.is_empty() {
        say("Nothing needs a look.");
        return Ok(());
    }
    let mut table = Table::new(&["ALERT", "SCHEDULE", "NOTICED", "WHAT"]);
    for alert in listing.items {
        let at: DateTime<Utc> = serde_json::from_value(alert["raised_at"].clone())?;
        let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
        table.row([
            alert["id"].to_string(),
            text("subject"),
            words::relative(at),
            words::cut(&text("message"), 120),
        ]);
    }
    table.print();
    Ok(())
}
