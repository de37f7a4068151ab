//! Which requests are of one class: by a label or by size, and conversations by how much their turns add.

use std::collections::{BTreeMap, HashSet};

use super::conversations::Conversation;
use super::{By, FitOptions, bands};
use crate::row::TraceRow;

/// Classes of conversations of one group, at most, and of all groups together.
const GROWTHS_MAX: usize = 4;
const GROWTHS_ALL: usize = 8;
/// Conversations of a class by growth, at least.
const CONVERSATIONS_MIN: usize = 100;

/// What becomes a class.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Name.
    pub name: String,
    /// The label that its rows share.
    pub label: Option<(&'static str, String)>,
    /// Its conversations, in order of their first turns.
    pub members: Vec<Conversation>,
}

impl Group {
    fn rows(&self) -> usize {
        self.members.iter().map(Vec::len).sum()
    }
}

/// Puts conversations, single requests among them, into groups. Where turns wait (`waits`), single requests are conversations that
/// ended early, and are not put into bands of length.
pub fn groups(
    rows: &[TraceRow],
    found: Vec<Conversation>,
    waits: bool,
    options: &FitOptions,
    notes: &mut Vec<String>,
) -> Vec<Group> {
    if options.by == By::None {
        return vec![Group { name: "all".to_owned(), label: None, members: found }];
    }
    let labelled = by_label(rows, found, options, notes);
    let growths = (GROWTHS_ALL / labelled.len()).clamp(1, GROWTHS_MAX);
    let mut groups = Vec::new();
    for group in labelled {
        let (several, single): (Vec<_>, Vec<_>) = group.members.into_iter().partition(|turns| turns.len() > 1);
        let (plain, talks) = match (&group.label, several.is_empty(), group.name.as_str()) {
            (None, true, "") => ("all".to_owned(), String::new()),
            (None, false, "") => ("single".to_owned(), "turns".to_owned()),
            (_, _, name) => (name.to_owned(), format!("{name}-turns")),
        };
        let sized = group.name.is_empty() && !waits;
        let single = Group { name: plain, label: group.label.clone(), members: single };
        groups.extend(by_growth(rows, Group { name: talks, label: group.label, members: several }, growths));
        match sized {
            true => groups.extend(by_size(rows, single, notes)),
            false => groups.push(single),
        }
    }
    groups.retain(|group| !group.members.is_empty());
    groups
}

/// By the label that is asked for, or by the first one with a few values; else all are one group without a name.
fn by_label(rows: &[TraceRow], found: Vec<Conversation>, options: &FitOptions, notes: &mut Vec<String>) -> Vec<Group> {
    type Label = fn(&TraceRow) -> Option<&String>;
    let kinds: [(&'static str, By, Label); 4] = [
        ("class", By::Class, |row| row.class.as_ref()),
        ("route", By::Route, |row| row.route.as_ref()),
        ("tenant", By::Tenant, |row| row.tenant.as_ref()),
        ("model", By::Model, |row| row.model.as_ref()),
    ];
    let different = |label: Label| rows.iter().map(label).collect::<HashSet<_>>().len();
    let chosen = match options.by {
        By::Auto => kinds.iter().find(|(_, _, label)| (2..=options.groups_max).contains(&different(*label))),
        by => kinds.iter().find(|(_, kind, _)| *kind == by),
    };
    let Some((kind, _, label)) = chosen else {
        return vec![Group { members: found, ..Group::default() }];
    };
    let mut by_name: BTreeMap<&str, Vec<Conversation>> = BTreeMap::new();
    for conversation in found {
        by_name.entry(label(&rows[conversation[0].row]).map_or("none", String::as_str)).or_default().push(conversation);
    }
    let group = |(name, members): (&str, _)| Group { name: name.to_owned(), label: Some((*kind, name.to_owned())), members };
    let mut groups: Vec<Group> = by_name.into_iter().map(group).collect();
    groups.sort_by(|a, b| b.rows().cmp(&a.rows()).then_with(|| a.name.cmp(&b.name)));
    if groups.len() > options.groups_max {
        let rest = groups.split_off(options.groups_max - 1);
        notes.push(format!("{} {kind} labels with the fewest rows are one class, `others`", rest.len()));
        let mut others: Vec<Conversation> = rest.into_iter().flat_map(|group| group.members).collect();
        others.sort_unstable_by_key(|conversation| conversation[0].row);
        groups.push(Group { name: "others".to_owned(), label: None, members: others });
    }
    groups
}

/// Single requests by bands of prompt length.
fn by_size(rows: &[TraceRow], group: Group, notes: &mut Vec<String>) -> Vec<Group> {
    let of = |conversation: &Conversation| &rows[conversation[0].row];
    let pairs: Vec<(u32, u32)> = group.members.iter().map(|c| (of(c).input_tokens, of(c).output_tokens)).collect();
    let bounds = bands::bounds(&pairs);
    if bounds.len() < 2 {
        return vec![group];
    }
    notes.push(format!("{} classes by prompt length: within each, prompt and answer are independent", bounds.len()));
    split(group.members, &bounds, |c| of(c).input_tokens, |bound| format!("up-to-{bound}"))
}

/// Conversations by how many tokens a turn adds on the mean: those that grow alike are of one class, since turns of a class are
/// drawn apart.
fn by_growth(rows: &[TraceRow], group: Group, most: usize) -> Vec<Group> {
    let growth = |conversation: &Conversation| {
        let added = conversation.iter().filter_map(|turn| turn.added(rows));
        let (sum, count) = added.fold((0u64, 0u64), |(sum, count), added| (sum + u64::from(added), count + 1));
        sum.div_ceil(count.max(1)) as u32
    };
    let mut sorted: Vec<u32> = group.members.iter().map(growth).collect();
    sorted.sort_unstable();
    let count = (sorted.len() / CONVERSATIONS_MIN).clamp(1, most);
    let mut bounds: Vec<u32> =
        (1..=count).filter_map(|k| sorted.get((sorted.len() * k / count).checked_sub(1)?).copied()).collect();
    bounds.dedup();
    if bounds.len() < 2 {
        return vec![group];
    }
    let (name, label) = (group.name, group.label);
    let mut groups = split(group.members, &bounds, growth, |bound| format!("{name}-up-to-{bound}"));
    groups.iter_mut().for_each(|group| group.label.clone_from(&label));
    groups
}

/// Members by what is measured of them: up to each of the `bounds`, ascending, the last of which none exceeds.
fn split(
    members: Vec<Conversation>,
    bounds: &[u32],
    measure: impl Fn(&Conversation) -> u32,
    name: impl Fn(u32) -> String,
) -> Vec<Group> {
    let mut groups: Vec<Group> = bounds.iter().map(|bound| Group { name: name(*bound), ..Group::default() }).collect();
    for member in members {
        groups[bounds.partition_point(|bound| *bound < measure(&member)).min(bounds.len() - 1)].members.push(member);
    }
    groups
}
