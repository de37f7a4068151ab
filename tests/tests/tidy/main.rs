//! What the style forbids fails here, with file and line: sizes, leftovers, local paths, floats in orders, imports upward.

mod code;
mod crates;
mod tree;

use tree::Tracked;

/// Lines of a Rust file.
const FILE_LINES_MAX: usize = 500;
/// Columns of a Rust line, as in rustfmt.toml.
const COLUMNS_MAX: usize = 132;
/// Lines of a function, signature and closing brace included.
const FUNCTION_LINES_MAX: usize = 70;
/// Nothing larger is committed [bytes].
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Checks all files by one rule; panics with all its findings.
fn check(rule: impl Fn(&Tracked) -> Vec<String>) {
    let findings: Vec<String> = tree::files().iter().flat_map(rule).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

fn rust(file: &Tracked) -> Option<&str> {
    file.text.as_deref().filter(|_| file.path.ends_with(".rs"))
}

/// A finding per line of `text` that `wrong` says something about.
fn lines(file: &Tracked, text: &str, wrong: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let finding = |(at, line): (usize, &str)| Some(format!("{}:{}: {}", file.path, at + 1, wrong(line)?));
    text.split('\n').enumerate().filter_map(finding).collect()
}

fn sizes(file: &Tracked) -> Vec<String> {
    let mut found = Vec::new();
    if file.bytes > FILE_BYTES_MAX {
        found.push(format!("{}: {} bytes, {FILE_BYTES_MAX} at most", file.path, file.bytes));
    }
    let Some(text) = rust(file) else { return found };
    let count = text.lines().count();
    if count > FILE_LINES_MAX {
        found.push(format!("{}: {count} lines, {FILE_LINES_MAX} at most", file.path));
    }
    found.extend(lines(file, text, |line| {
        let columns = line.chars().count();
        (columns > COLUMNS_MAX).then(|| format!("{columns} columns, {COLUMNS_MAX} at most"))
    }));
    let code = code::blank(text);
    for item in code::items(&code, "fn") {
        let count = item.last - item.first + 1;
        if count > FUNCTION_LINES_MAX {
            found.push(format!("{}:{}: a function of {count} lines, {FUNCTION_LINES_MAX} at most", file.path, item.first));
        }
    }
    found
}

fn whitespace(file: &Tracked) -> Vec<String> {
    // Inputs of fuzzing are bytes.
    if file.path.contains("/fuzz/corpus/") {
        return Vec::new();
    }
    let Some(text) = &file.text else { return Vec::new() };
    lines(file, text, |line| {
        let wrong = if line.contains('\t') {
            "a tab"
        } else if line.ends_with([' ', '\r']) {
            "white space at the end"
        } else {
            return None;
        };
        Some(wrong.to_string())
    })
}

fn leftovers(file: &Tracked) -> Vec<String> {
    let Some(text) = rust(file) else { return Vec::new() };
    lines(file, &code::blank(text), |line| {
        let left = ["todo!", "unimplemented!", "dbg!"].into_iter().find(|name| line.contains(name))?;
        Some(format!("`{left}` is left"))
    })
}

/// Folders of somebody's machine.
fn local_paths(file: &Tracked) -> Vec<String> {
    let Some(text) = &file.text else { return Vec::new() };
    let folders = ["work", "home", "tmp", "root"].map(|name| format!("/{name}/"));
    lines(file, text, |line| {
        // After a letter or a dot it is the middle of a relative path or of an address.
        let absolute = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}*".contains(c));
        let local = folders.iter().find(|&name| line.match_indices(name.as_str()).any(|(at, _)| absolute(at)))?;
        Some(format!("a local path, `{local}`"))
    })
}

/// Floats have no total order that two machines must agree on: orders are of integers.
fn float_orders(file: &Tracked) -> Vec<String> {
    let Some(text) = rust(file) else { return Vec::new() };
    let code = code::blank(text);
    let wrong = |item: &code::Item<'_>| {
        let head = item.text.split('{').next().unwrap_or_default();
        (head.contains(" Ord for ") || head.contains(" PartialOrd for "))
            && ["f32", "f64", "total_cmp"].iter().any(|name| item.text.contains(name))
    };
    let impls = code::items(&code, "impl");
    impls.iter().filter(|item| wrong(item)).map(|item| format!("{}:{}: a float in an order", file.path, item.first)).collect()
}

/// A reader of a file learns first what it is: Rust files from their documentation, scenarios from a comment.
fn openings(file: &Tracked) -> Vec<String> {
    let Some(text) = &file.text else { return Vec::new() };
    let scenario = file.path.ends_with(".toml") && file.path.split('/').rev().nth(1) == Some("scenarios");
    let wanted = match () {
        () if file.path.ends_with(".rs") => "//! ",
        () if scenario => "# ",
        () => return Vec::new(),
    };
    if text.starts_with(wanted) { Vec::new() } else { vec![format!("{}:1: does not start with `{wanted}`", file.path)] }
}

#[test]
fn files_lines_and_functions_are_short() {
    check(sizes);
}

#[test]
fn no_tabs_and_no_white_space_at_line_ends() {
    check(whitespace);
}

#[test]
fn nothing_is_left_to_do() {
    check(leftovers);
}

#[test]
fn no_local_paths() {
    check(local_paths);
}

#[test]
fn orders_are_of_integers() {
    check(float_orders);
}

#[test]
fn files_say_what_they_are() {
    check(openings);
}

#[test]
fn crates_import_downward() {
    let findings = crates::findings(&crates::packages());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// Each rule on a file that breaks it and on one that only looks like it.
#[test]
fn rules_see_what_they_forbid() {
    let file = |path: &str, text: &str| Tracked { path: path.into(), bytes: text.len() as u64, text: Some(text.into()) };
    let long = format!("//! Long.\nfn long() {{\n{}}}\n", "    let a = ['{', '\\''];\n".repeat(FUNCTION_LINES_MAX - 1));
    let fits = long.replacen("    let a = ['{', '\\''];\n", "", 1);
    assert_eq!(sizes(&file("a.rs", &long)), ["a.rs:2: a function of 71 lines, 70 at most"]);
    assert!(sizes(&file("a.rs", &fits)).is_empty());
    assert_eq!(sizes(&file("a.rs", &format!("{}\n", "é".repeat(133)))).len(), 1);
    assert_eq!(sizes(&file("a.rs", &"\n".repeat(501))).len(), 1);
    assert_eq!(whitespace(&file("a.md", "a\tb\nc \nd\r\ne")).len(), 3);
    let macros = format!("//! {0}\nfn f() {{\n    {0}; // {0}\n    g(\"{0}\");\n}}\n", "todo!()");
    assert_eq!(leftovers(&file("a.rs", &macros)), ["a.rs:3: `todo!` is left"]);
    let paths = format!("see {0}x\nhttps://host.org{0}x\nmodels{0}x\n", format_args!("/{}/", "tmp"));
    assert_eq!(local_paths(&file("a.toml", &paths)).len(), 1);
    let order = "impl Ord for A {\n    fn cmp(&self, o: &A) -> Ordering {\n        self.0.total_cmp(&o.0)\n    }\n}\n";
    assert_eq!(float_orders(&file("a.rs", order)), ["a.rs:1: a float in an order"]);
    assert!(float_orders(&file("a.rs", &order.replace("total_", ""))).is_empty());
    assert_eq!(openings(&file("scenarios/a.toml", "name = \"a\"\n")).len(), 1);
    assert!(openings(&file("Cargo.toml", "[workspace]\n")).is_empty());
}
