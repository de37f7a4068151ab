//! Templates: what is put in, where the text is cut, and what is refused in which words.

use std::fs;
use std::path::PathBuf;

use tokentide_prompts::rendered::Piece;
use tokentide_prompts::{Kind, PromptError, PromptFile, Segment, Tokenizer, Variable, Variables};

/// A folder of prompt files, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Folder {
        let folder = Folder(std::env::temp_dir().join(format!("tokentide-prompts-{name}-{}", std::process::id())));
        for (name, text) in files {
            let path = folder.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn render(&self, file: &str, variables: &Variables) -> Result<String, PromptError> {
        let name = format!("prompts/{file}");
        let rendered = PromptFile { path: &self.0.join(file), name: &name, kind: None }.render(variables)?;
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(name) => format!("<{name}>"),
        };
        Ok(rendered.pieces.iter().map(piece).collect())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A template, its variables, and what becomes of it.
type Case<'a> = (&'a str, &'a [(&'a str, Variable)], &'a str);

fn text(text: &str) -> Variable {
    Variable::Text(text.to_owned())
}

fn variables(all: &[(&str, Variable)]) -> Variables {
    all.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// One template, as a file of this name.
fn render(name: &str, template: &str, values: &[(&str, Variable)]) -> Result<String, PromptError> {
    Folder::new(&format!("{name}-{:x}", template.len() * 1000 + values.len()), &[(name, template)]).render(name, &variables(values))
}

fn refused(name: &str, template: &str, values: &[(&str, Variable)]) -> PromptError {
    render(name, template, values).expect_err("it is wrong")
}

fn user() -> Variable {
    Variable::Table(variables(&[("name", text("Ada")), ("notes", Variable::Length)]))
}

#[test]
fn jinja_is_rendered() {
    let docs = || Variable::List(vec![Variable::Length, text("known"), Variable::Length]);
    let cases: [Case; 7] = [
        ("You work for {{ company }}.", &[("company", text("A & B <c>"))], "You work for A & B <c>."),
        ("{% if polite %}Please. {% else %}Now. {% endif %}", &[("polite", Variable::Flag(false))], "Now. "),
        (
            "{% for d in docs %}[{{ loop.index }}] {{ d }}\n{% endfor %}",
            &[("docs", docs())],
            "[1] <docs[0]>\n[2] known\n[3] <docs[2]>\n",
        ),
        ("{{ user.name }}: {{ user['notes'] }}", &[("user", user())], "Ada: <user.notes>"),
        (
            "{{ q | trim | upper }}{{ q }}{{ docs | join(', ') }}",
            &[("q", Variable::Length), ("docs", docs())],
            "<q><q><docs[0]>, known, <docs[2]>",
        ),
        ("{% if extra is defined %}{{ extra }}{% endif %}{{ 'x'.strip().upper() }}", &[], "X"),
        (
            "{# {{ no }} #}{% for k, v in user.items() %}{{ k }}={{ v }};{% endfor %}",
            &[("user", user())],
            "name=Ada;notes=<user.notes>;",
        ),
    ];
    for (template, values, expected) in cases {
        assert_eq!(render("a.md.j2", template, values).unwrap(), expected, "{template}");
    }
}

#[test]
fn handlebars_is_rendered() {
    let docs = || Variable::List(vec![Variable::Length, text("known")]);
    let cases: [Case; 6] = [
        ("You work for {{company}}.", &[("company", text("A & B <c>"))], "You work for A & B <c>."),
        ("{{#if polite}}Please.{{else}}Now.{{/if}}", &[("polite", Variable::Flag(false))], "Now."),
        ("{{#each docs}}[{{@index}}] {{this}}\n{{/each}}", &[("docs", docs())], "[0] <docs[0]>\n[1] known\n"),
        ("{{user.name}}: {{#with user}}{{{notes}}}{{/with}}", &[("user", user())], "Ada: <user.notes>"),
        ("{{#each docs as |doc|}}{{#if doc}}{{doc}} {{/if}}{{/each}}", &[("docs", docs())], "<docs[0]> known "),
        ("{{!-- {{no}} --}}{{#if docs}}some{{/if}}", &[("docs", Variable::Length)], "some"),
    ];
    for (template, values, expected) in cases {
        assert_eq!(render("a.hbs", template, values).unwrap(), expected, "{template}");
    }
}

#[test]
fn files_of_the_folder_are_included() {
    let folder = Folder::new(
        "included",
        &[
            ("main.j2", "{% include 'parts/head.j2' %}|{{ q }}"),
            ("parts/head.j2", "{% include 'tone.txt' %} for {{ who }}"),
            ("tone.txt", "Be kind"),
            ("main.hbs", "{{> parts/head}}|{{q}}"),
            ("parts/head.hbs", "Be kind for {{who}}"),
            ("broken.j2", "a\n{% include 'inner.j2' %}"),
            ("inner.j2", "b\n\n{{ nobody }}"),
        ],
    );
    let values = variables(&[("who", text("Ada")), ("q", Variable::Length)]);
    assert_eq!(folder.render("main.j2", &values).unwrap(), "Be kind for Ada|<q>");
    assert_eq!(folder.render("main.hbs", &values).unwrap(), "Be kind for Ada|<q>");
    let error = folder.render("broken.j2", &Variables::new()).unwrap_err();
    assert!(error.to_string().starts_with("prompts/inner.j2:3: `nobody` has no value"), "{error}");
}

#[test]
fn no_other_files_are_included() {
    let folder = Folder::new(
        "outside",
        &[
            ("secret.j2", "secret"),
            ("in/up.j2", "{% include '../secret.j2' %}"),
            ("in/up.hbs", "x\n{{> ../secret.j2}}"),
            ("in/missing.j2", "a\n{% include 'no.j2' %}"),
            ("in/missing.hbs", "a\n{{> no}}"),
        ],
    );
    for (file, expected) in [
        (
            "in/up.j2",
            "prompts/in/up.j2:1: tried to include non-existing template '../secret.j2': only files in the folder of the prompt",
        ),
        ("in/up.hbs", "prompts/in/up.hbs:2: there is no partial `../secret.j2`: only files in the folder of the prompt"),
        (
            "in/missing.j2",
            "prompts/in/missing.j2:2: tried to include non-existing template 'no.j2': only files in the folder of the prompt",
        ),
        ("in/missing.hbs", "prompts/in/missing.hbs:2: there is no partial `no`: only files in the folder of the prompt"),
    ] {
        let error = folder.render(file, &Variables::new()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_does_not_lead_out() {
    let folder = Folder::new("link", &[("secret.j2", "secret"), ("in/main.j2", "{% include 'link.j2' %}")]);
    std::os::unix::fs::symlink(folder.0.join("secret.j2"), folder.0.join("in/link.j2")).unwrap();
    let error = folder.render("in/main.j2", &Variables::new()).unwrap_err();
    assert!(error.to_string().contains("non-existing template 'link.j2'"), "{error}");
}

#[test]
fn what_has_no_value_is_named_with_its_line() {
    let given = [("compny", text("Acme"))];
    for (name, template) in [
        ("system.md.j2", "{{ compny }}\n\nYou work for {{ company }}."),
        ("system.md.hbs", "{{compny}}\n\nYou work for {{company}}."),
        ("system.j2", "{{ compny }}\n\n{% if company %}x{% endif %}"),
        ("system.jinja", "{{ compny }}\n\n{% for c in company %}x{% endfor %}"),
        ("system.handlebars", "{{compny}}\n\n{{#if company}}x{{/if}}"),
        ("each.hbs", "{{compny}}\n\n{{#each company}}x{{/each}}"),
    ] {
        let error = refused(name, template, &given);
        let expected =
            format!("prompts/{name}:3: `company` has no value: give it one in `variables`, a text or an assumed number of tokens");
        assert_eq!(error.to_string(), expected);
        let unknown = error.unknown.unwrap();
        assert_eq!((unknown.name.as_str(), unknown.unused, unknown.known), ("company", false, vec!["compny".to_owned()]));
    }
    for (name, template) in [("n.j2", "{{ user.nam }}"), ("n.hbs", "{{user.nam}}")] {
        let error = refused(name, template, &[("user", user())]);
        assert!(error.to_string().starts_with(&format!("prompts/{name}:1: `user.nam` has no value")), "{error}");
    }
}

#[test]
fn what_is_not_used_is_refused() {
    for (name, template) in [("a.j2", "{# compny #}{{ company }}"), ("a.hbs", "{{! compny }}{{company}}")] {
        let error = refused(name, template, &[("company", text("A")), ("compny", text("B"))]);
        assert_eq!(error.to_string(), format!("prompts/{name}: the variable `compny` is given and not used"));
        let unknown = error.unknown.unwrap();
        assert!(unknown.unused && unknown.name == "compny");
    }
    // In a branch that is not taken it is used.
    assert_eq!(render("b.j2", "{% if a %}{{ b }}{% endif %}", &[("a", Variable::Flag(false)), ("b", text("x"))]).unwrap(), "");
    let error = refused("a.md", "Hello", &[("company", text("A"))]);
    assert!(error.to_string().starts_with("prompts/a.md: a plain text has no variables: say `template = \"jinja\"`"), "{error}");
}

#[test]
fn lists_and_tables_are_no_text() {
    let docs = Variable::List(vec![Variable::Length]);
    for (name, template) in [("w.j2", "a\n{{ docs }}"), ("w.hbs", "a\n{{docs}}")] {
        let error = refused(name, template, &[("docs", docs.clone())]);
        assert_eq!(error.to_string(), format!("prompts/{name}:2: `docs`: a list is no text: loop over it"));
    }
    for (name, template) in [("t.j2", "{{ user }}"), ("t.hbs", "{{user}}")] {
        let error = refused(name, template, &[("user", user())]);
        assert_eq!(
            error.to_string(),
            format!("prompts/{name}:1: `user`: a table is no text: put in one of its keys, or loop over it")
        );
    }
}

#[test]
fn what_is_no_template_is_refused_with_its_line() {
    for (name, template, expected) in [
        ("s.j2", "a\n{% if %}", "prompts/s.j2:2: not valid Jinja: "),
        ("s.hbs", "a\n{{#if x}}", "prompts/s.hbs:2: not valid Handlebars: "),
        ("f.j2", "a\n{{ 'x' | nofilter }}", "prompts/f.j2:2: unknown filter: filter nofilter is unknown"),
        ("h.hbs", "a\n{{nohelper 'x'}}", "prompts/h.hbs:2: Helper not found nohelper"),
    ] {
        let error = refused(name, template, &[]).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = refused("m.j2", "\u{F0000}{{ q }}", &[("q", Variable::Length)]);
    assert_eq!(error.to_string(), "prompts/m.j2: the private-use character U+F0000 is kept for assumed lengths");
    let missing = PromptFile { path: &PathBuf::from("/no/such/file.md"), name: "file.md", kind: None }.render(&Variables::new());
    assert!(missing.unwrap_err().to_string().starts_with("file.md: cannot read the prompt: "));
}

#[test]
fn plain_files_are_as_they_are_but_templates_are_seen() {
    let folder = Folder::new("plain", &[("a.md", "one\n{{ two }}\n"), ("b.md", "{ one }"), ("c.md", "")]);
    let look = |name: &str, kind: Option<Kind>| {
        let path = folder.0.join(name);
        let file = PromptFile { path: &path, name, kind };
        let rendered = file.render(&Variables::new()).unwrap();
        (rendered.characters(), file.like_a_template(&rendered))
    };
    assert_eq!(look("a.md", None), (14, Some(2)));
    assert_eq!(look("a.md", Some(Kind::Plain)), (14, None));
    assert_eq!(look("b.md", None), (7, None));
    assert_eq!(look("c.md", None), (0, None));
}

#[test]
fn segments_are_counted_one_by_one() {
    let folder = Folder::new("counted", &[("a.j2", "hello world{{ docs }}hello world{{ docs }}")]);
    let path = folder.0.join("a.j2");
    let file = PromptFile { path: &path, name: "a.j2", kind: None };
    let rendered = file.render(&variables(&[("docs", Variable::Length)])).unwrap();
    let docs = || Segment::Variable("docs".to_owned());
    let counted = rendered.count(&Tokenizer::encoding("cl100k_base").unwrap()).unwrap();
    assert_eq!(counted, [Segment::Text(2), docs(), Segment::Text(2), docs()]);
    assert_eq!(rendered.characters(), 22);
}
