//! Prompts that are counted from files.

use std::path::PathBuf;

use super::*;
use crate::run::{RunOptions, simulate};
use crate::scenario::{Distribution, ScenarioErrors};

/// A folder with a scenario's files, removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, files: &[(&str, &str)]) -> Files {
        let all = Files(std::env::temp_dir().join(format!("tokentide-scenario-{name}-{}", std::process::id())));
        std::fs::create_dir_all(all.0.join("prompts")).unwrap();
        files.iter().for_each(|(name, text)| all.write(name, text));
        all
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    /// A scenario with this tokenizer section and this prompt.
    fn load(&self, tokenizer: &str, prompt: &str) -> Result<Scenario, ScenarioErrors> {
        let text = with_class(&format!("prompt = {prompt}")).replace("[[class]]", &format!("{tokenizer}\n[[class]]"));
        parse(&text, "test.toml", &self.0, &[]).map(|loaded| loaded.scenario)
    }

    fn right(&self, tokenizer: &str, prompt: &str) -> Scenario {
        self.load(tokenizer, prompt).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Place and message of the only error, and its help.
    fn wrong(&self, tokenizer: &str, prompt: &str) -> (String, String, String) {
        let errors = self.load(tokenizer, prompt).err().expect("the scenario has no error").0;
        assert_eq!(errors.len(), 1, "{errors:#?}");
        (errors[0].offending().to_owned(), errors[0].message.clone(), errors[0].help.clone().unwrap_or_default())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Source, mean tokens, whether shared, and how often it is put in.
fn parts(scenario: &Scenario) -> Vec<(&'static str, f64, bool, u32)> {
    let tokens = |distribution: &Distribution| match distribution {
        Distribution::Fixed(tokens) => *tokens,
        Distribution::Uniform { min, max } => (min + max) / 2.0,
        Distribution::LogNormal { median, .. } => *median,
        other => panic!("{other:?}"),
    };
    let part = |part: &crate::scenario::PromptPart| {
        (part.source.name(), tokens(&part.tokens), part.shared, part.assumed.as_ref().map_or(1, |assumed| assumed.times))
    };
    scenario.classes[0].prompt.iter().map(part).collect()
}

const ENCODING: &str = "tokenizer = { encoding = \"cl100k_base\" }";

#[test]
fn without_a_tokenizer_the_count_is_marked_as_approximate() {
    let files = Files::new("approximate", &[("prompts/system.md", &"tide".repeat(700))]);
    let scenario = files.right("", "{ system = { file = \"prompts/system.md\" }, user = 10 }");
    assert_eq!(parts(&scenario), [("system", 700.0, true, 1), ("user", 10.0, false, 1)]);
    assert_eq!(
        scenario.notes,
        ["system of class a: prompts/system.md, 2,800 characters, about 700 tokens \
          (4 characters per token: approximate; give [tokenizer] to count)"]
    );
    assert_eq!(scenario.tokenizer.as_deref(), Some("4 characters per token"));
    let declared = files.right("tokenizer = { chars_per_token = 3.5 }", "{ system = { file = \"prompts/system.md\" } }");
    assert_eq!(parts(&declared), [("system", 800.0, true, 1)]);
    assert_eq!(
        declared.notes,
        ["system of class a: prompts/system.md, 2,800 characters, about 800 tokens (3.5 characters per token: approximate)"]
    );
}

#[test]
fn a_tokenizer_counts_and_says_so() {
    let words = include_str!("../../../../prompts/tests/data/words.json");
    let files = Files::new("counted", &[("prompts/tools.md", "You are helpful and brief."), ("words.json", words)]);
    let prompt = "{ tools = { file = \"prompts/tools.md\" }, user = { file = \"prompts/tools.md\" } }";
    let scenario = files.right("tokenizer = { file = \"words.json\" }", prompt);
    assert_eq!(parts(&scenario), [("tools", 6.0, true, 1), ("user", 6.0, false, 1)]);
    let id = scenario.tokenizer.clone().unwrap();
    assert!(id.starts_with("tokenizer.json:"), "{id}");
    assert_eq!(scenario.notes[0], format!("tools of class a: prompts/tools.md, 6 tokens ({id})"));
    // An absolute path is taken as it is.
    let absolute = format!("tokenizer = {{ file = {:?} }}", files.0.join("words.json").display().to_string());
    assert_eq!(files.right(&absolute, prompt).tokenizer, Some(id));
}

#[test]
fn every_source_takes_a_file() {
    let files = Files::new("sources", &[("a.md", "hello world")]);
    for source in crate::scenario::Source::ALL {
        let scenario = files.right(ENCODING, &format!("{{ {} = {{ file = \"a.md\", cacheable = true }} }}", source.name()));
        assert_eq!(parts(&scenario), [(source.name(), 2.0, true, 1)]);
    }
}

#[test]
fn an_edit_changes_tokens_identity_and_simulation() {
    let files = Files::new("edited", &[("prompts/system.md", "hello world")]);
    let run = || {
        let scenario = files.right(ENCODING, "{ system = { file = \"prompts/system.md\" }, user = { uniform = [5, 50] } }");
        let scenario = Scenario { horizon: super::super::Horizon { duration: None, requests: Some(20) }, ..scenario };
        (scenario.hash.clone(), simulate(&scenario, None, RunOptions::default(), &|_| (), None).unwrap())
    };
    let (before, short) = run();
    files.write("prompts/system.md", "hello world hello world");
    let (after, long) = run();
    assert_ne!(before, after);
    let system = |report: &crate::report::Report| report.summary.input_tokens_by_source["system"];
    let user = |report: &crate::report::Report| report.summary.input_tokens_by_source["user"];
    assert_eq!((system(&short), system(&long), user(&short)), (40, 80, user(&long)));
    assert_eq!(long.summary.input_tokens, short.summary.input_tokens + 40);
    assert_eq!(long.fingerprint.tokenizer.as_deref(), Some("cl100k_base"));
    files.write("prompts/system.md", "hello world");
    assert_eq!(run().0, before);
}

#[test]
fn sharing_ends_where_the_request_brings_something() {
    let files = Files::new("shared", &[("a.j2", "hello world{{ date }}hello world{{ docs }}hello world{{ docs }}")]);
    let load = |date: &str, cacheable: &str, source: &str| {
        let variables = format!("variables = {{ date = {date}, docs = {{ median = 900, p95 = 4000 }} }}");
        parts(&files.right(ENCODING, &format!("{{ {source} = {{ file = \"a.j2\", {variables}{cacheable} }} }}")))
    };
    let docs = |source| (source, 900.0, false, 2);
    // A text that is given is part of the text: " monday" is one token more.
    assert!(load("\" monday \"", "", "system")[0].2);
    assert_eq!(load("8", "", "system"), [("system", 2.0, true, 1), ("system", 12.0, false, 1), docs("system")]);
    assert_eq!(load("8", ", cacheable = true", "system"), [("system", 12.0, true, 1), ("system", 2.0, false, 1), docs("system")]);
    assert_eq!(load("{ uniform = [6, 10] }", ", cacheable = true", "user")[..2], [("user", 2.0, true, 1), ("user", 4.0, false, 1)]);
    assert_eq!(load("8", "", "user"), [("user", 14.0, false, 1), docs("user")]);
    assert_eq!(load("8", ", cacheable = false", "system"), [("system", 14.0, false, 1), docs("system")]);
}

#[test]
fn the_same_text_twice_is_drawn_once() {
    let once = "{{ docs }}hello world{{ who }}";
    let files =
        Files::new("drawn", &[("once.j2", once), ("more.j2", "hello world{{ new }}{{ docs }}hello world{{ docs }}{{ who }}")]);
    let run = |file: &str, more: &str| {
        let docs = "docs = { median = 900, p95 = 4000 }, who = { uniform = [3, 30] }";
        let prompt = format!("{{ system = {{ file = \"{file}\", variables = {{ {docs}{more} }} }} }}");
        let scenario = files.right(ENCODING, &prompt);
        let scenario = Scenario { horizon: super::super::Horizon { duration: None, requests: Some(50) }, ..scenario };
        let mut generator = crate::workload::generator::Generator::new(&scenario);
        let mut lengths = Vec::new();
        while let Some(request) = crate::workload::RequestSource::next(&mut generator) {
            lengths.push(request.sources[0]);
        }
        lengths
    };
    // `new` always brings nothing, so what is more in each request is the text in front and `docs` once more.
    let (once, more) = (run("once.j2", ""), run("more.j2", ", new = { uniform = [0, 0] }"));
    let docs_and_text: Vec<u32> = once.iter().zip(&more).map(|(once, more)| more - once).collect();
    assert!(docs_and_text.iter().all(|more| *more >= 2) && docs_and_text.iter().any(|more| *more != docs_and_text[0]));
    // `who`, which is drawn beside it, stays what it was: 3 to 30 tokens, and the 2 of the text.
    assert!(once.iter().zip(&docs_and_text).all(|(once, more)| (5..=32).contains(&(once + 2 - more))));
}

#[test]
fn loops_and_tables_take_assumed_lengths() {
    let template =
        "{% for d in docs %}{{ loop.index }}. {{ d.title }}: {{ d.text }}\n{% endfor %}{% if polite %}{{ user.name }}{% endif %}";
    let files = Files::new("loops", &[("a.jinja", template)]);
    let docs = "docs = [{ title = \"hello\", text = 300 }, { title = 7, text = { uniform = [100, 200] } }]";
    let variables = format!("variables = {{ {docs}, polite = true, user = {{ name = {{ fixed = 2, cacheable = 1 }} }} }}");
    let scenario = files.load(ENCODING, &format!("{{ user = {{ file = \"a.jinja\", {variables} }} }}"));
    assert!(scenario.is_err(), "`cacheable` makes a table of it, which is no text");
    let variables = variables.replace(", cacheable = 1", "");
    let scenario = files.right(ENCODING, &format!("{{ user = {{ file = \"a.jinja\", {variables} }} }}"));
    let all = parts(&scenario);
    assert_eq!(all.len(), 2);
    assert!(all[0].1 > 309.0 && all[0].1 < 325.0, "{all:?}");
    assert_eq!(all[1], ("user", 150.0, false, 1));
    assert_eq!(scenario.classes[0].prompt[1].assumed.as_ref().unwrap().name, "docs[1].text");
    let note = &scenario.notes[0];
    assert!(
        note.ends_with("and the assumed lengths of docs[0].text, docs[1].title, docs[1].text, user.name (cl100k_base)"),
        "{note}"
    );
}

#[test]
fn a_plain_file_that_looks_like_a_template_is_noted() {
    let files = Files::new("plain", &[("a.md", "one\n{{ two }}")]);
    let notes = files.right(ENCODING, "{ user = { file = \"a.md\" } }").notes;
    assert_eq!(
        notes[0],
        "user of class a: a.md:2: it looks like a template and is counted as a plain text; say `template = \"jinja\"`, \
         \"handlebars\" or \"none\""
    );
    assert_eq!(files.right(ENCODING, "{ user = { file = \"a.md\", template = \"none\" } }").notes.len(), 1);
    let variables = "variables = { two = 20 }";
    for template in ["jinja", "handlebars"] {
        let scenario =
            files.right(ENCODING, &format!("{{ user = {{ file = \"a.md\", template = \"{template}\", {variables} }} }}"));
        assert_eq!(parts(&scenario), [("user", 22.0, false, 1)]);
    }
}

#[test]
fn what_is_wrong_with_a_prompt_file_is_said_where_it_is_named() {
    let files = Files::new("wrong", &[("prompts/system.md.j2", "one\n\n{{ company }}"), ("a.md", "one")]);
    let (at, file) = ("\"prompts/system.md.j2\"".to_owned(), "file = \"prompts/system.md.j2\"");
    let no_value =
        "prompts/system.md.j2:3: `company` has no value: give it one in `variables`, a text or an assumed number of tokens";
    for (prompt, expected) in [
        (format!("{{ {file} }}"), (at.clone(), no_value, "")),
        (
            format!("{{ {file}, variables = {{ company = \"A\", compny = 12 }} }}"),
            ("12".to_owned(), "prompts/system.md.j2: the variable `compny` is given and not used", ""),
        ),
        (
            format!("{{ {file}, fixed = 12 }}"),
            (
                format!("{{ {file}, fixed = 12 }}"),
                "`system` has a file and a number of tokens or a distribution: give one of them",
                "",
            ),
        ),
        ("{ fixed = 1, template = \"jinja\" }".to_owned(), ("\"jinja\"".to_owned(), "`template` goes with `file` only", "")),
        ("{ fixed = 1, variables = { a = 1 } }".to_owned(), ("{ a = 1 }".to_owned(), "`variables` goes with `file` only", "")),
        (
            format!("{{ {file}, variables = {{ company = {{ median = 5, p59 = 9 }} }} }}"),
            ("company = { median = 5, p59 = 9 }".to_owned(), "unknown key `p59`", "did you mean `p95`?"),
        ),
        (
            format!("{{ {file}, variables = {{ company = {{ median = \"a\", p95 = 9 }} }} }}"),
            (String::new(), "`median` of a distribution must be a number", ""),
        ),
        (
            format!("{{ {file}, variables = {{ company = -5 }} }}"),
            ("-5".to_owned(), "`company` must be between 0 and 16777216, not -5", ""),
        ),
        (
            format!("{{ {file}, variables = {{ company = {{ uniform = [9, 5] }} }} }}"),
            ("[9, 5]".to_owned(), "`uniform` of `company` must be [lowest, highest], not [9, 5]", ""),
        ),
    ] {
        let (offending, message, help) = files.wrong(ENCODING, &format!("{{ system = {prompt} }}"));
        assert_eq!((message.as_str(), help.as_str()), (expected.1, expected.2), "{prompt}");
        if !message.contains("key") && !expected.0.is_empty() {
            assert_eq!(offending, expected.0, "{prompt}");
        }
    }
    let (_, message, help) = files.wrong(ENCODING, &format!("{{ system = {{ {file}, variables = {{ compan = 1 }} }} }}"));
    assert_eq!(message, "prompts/system.md.j2: the variable `compan` is given and not used");
    assert_eq!(help, "did you mean `company`?");
    let (at, message, _) = files.wrong(ENCODING, "{ retrieved = { file = \"a.md\", top_k = 4 } }");
    assert!(at.starts_with('{') && message.starts_with("`retrieved` has a file and a number of tokens"), "{at} {message}");
    let (at, message, _) = files.wrong(ENCODING, "{ user = { file = \"no.md\" } }");
    assert!(at == "\"no.md\"" && message.starts_with("no.md: cannot read the prompt: "), "{at} {message}");
}

#[test]
fn what_is_wrong_with_the_tokenizer_is_said_once() {
    let files = Files::new("tokenizer", &[("a.md", "one"), ("bad.json", "{}")]);
    let prompt = "{ system = { file = \"a.md\" }, user = { file = \"a.md\" } }";
    for (section, offending, message, help) in [
        ("{}", "", "`tokenizer` needs one of file, encoding and chars_per_token", "such as `file = \"tokenizer.json\"`"),
        (
            "{ encoding = \"gpt2\", chars_per_token = 4.0 }",
            "{ encoding = \"gpt2\", chars_per_token = 4.0 }",
            "`tokenizer` has more than one of file, encoding and chars_per_token: give one of them",
            "",
        ),
        (
            "{ encoding = \"o200k\" }",
            "\"o200k\"",
            "there is no encoding \"o200k\": there are o200k_base, ",
            "did you mean \"o200k_base\"?",
        ),
        ("{ chars_per_token = 0 }", "0", "`chars_per_token` must be above 0, not 0", ""),
        ("{ file = \"no.json\" }", "\"no.json\"", "cannot read the tokenizer: ", ""),
        ("{ file = \"bad.json\" }", "\"bad.json\"", "no Hugging Face tokenizer.json: ", ""),
    ] {
        let (at, what, hint) = files.wrong(&format!("tokenizer = {section}"), prompt);
        assert!(what.starts_with(message) && hint.starts_with(help), "{section}: {what} ({hint})");
        assert!(offending.is_empty() || at == offending, "{section}: {at}");
    }
}

#[test]
fn a_scenario_without_files_needs_no_tokenizer() {
    let files = Files::new("idle", &[("bad.json", "{}")]);
    // It is not loaded: that it is none is not seen.
    let scenario = files.right("tokenizer = { file = \"bad.json\" }", "{ user = 100 }");
    assert_eq!(scenario.tokenizer, None);
    assert_eq!(scenario.notes, ["[tokenizer] has no effect: no prompt is counted from a file"]);
}
