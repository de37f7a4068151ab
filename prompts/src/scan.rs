//! What the tags of a template mention, without parsing them: enough to tell a variable that nothing uses, and which files are
//! included.

use crate::file::Kind;

/// What stands between `{{` and `}}` or `{%` and `%}`, with the line, from 1, where it begins. Comments are left out.
pub(crate) fn tags(text: &str, kind: Kind) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(open) = text[at..].find('{').map(|i| at + i) {
        line += text[at..open].matches('\n').count();
        let rest = &text[open..];
        let ends: &[(&str, &str)] = match kind {
            Kind::Jinja => &[("{#", "#}"), ("{{", "}}"), ("{%", "%}")],
            Kind::Handlebars => &[("{{!--", "--}}"), ("{{!", "}}"), ("{{{", "}}}"), ("{{", "}}")],
            Kind::Plain => &[],
        };
        let tag = ends.iter().find(|(start, _)| rest.starts_with(start));
        let Some((start, end)) = tag else {
            at = open + 1;
            continue;
        };
        let inside = &rest[start.len()..];
        let length = inside.find(end).unwrap_or(inside.len());
        if !(start.contains('#') || start.contains('!')) {
            found.push((line, &inside[..length]));
        }
        at = (open + start.len() + length + end.len()).min(text.len());
        line += text[open..at].matches('\n').count();
    }
    found
}

/// The names in a tag.
pub(crate) fn words(tag: &str) -> impl Iterator<Item = &str> {
    tag.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).flat_map(|word| {
        // `a-b` is one name to Handlebars, and a difference to Jinja.
        std::iter::once(word).chain(word.split('-').filter(move |part| *part != word))
    })
}

/// The partial that a Handlebars tag includes: `> header`, `#> header`.
pub(crate) fn partial(tag: &str) -> Option<&str> {
    let name = tag.trim_start_matches('~').trim_start_matches('#').strip_prefix('>')?.trim_start();
    let name = name.trim_start_matches(['"', '\'']);
    let end = name.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '~' | '}')).unwrap_or(name.len());
    Some(&name[..end]).filter(|name| !name.is_empty() && !name.starts_with(['(', '@']))
}

/// What a Handlebars condition or loop is about, if it is a variable by name: `#if user.name`, `else if user`, `#each docs`.
pub(crate) fn subject(tag: &str) -> Option<&str> {
    let mut words = tag.trim_matches(['~', ' ']).split_whitespace();
    let block = match words.next()? {
        "else" => words.next()?,
        first => first.strip_prefix('#')?,
    };
    let of = words.next().filter(|_| ["if", "unless", "each", "with"].contains(&block))?;
    let named = of.starts_with(|c: char| c.is_alphabetic() || c == '_') && !["this", "true", "false", "null"].contains(&of);
    named.then_some(of).filter(|of| !of.starts_with("this."))
}

/// Names that a Handlebars tag gives to values: `as |doc index|`, `> header title="x"`.
pub(crate) fn bound(tag: &str) -> impl Iterator<Item = &str> {
    let between = tag.split('|').nth(1).unwrap_or("").split_whitespace();
    let hash = tag.match_indices('=').filter_map(|(at, _)| tag[..at].split_whitespace().next_back());
    between.chain(hash)
}

/// The files that a Jinja tag includes by name: `include "header.j2"`, `extends`, `import`, `from`.
pub(crate) fn included(tag: &str) -> Vec<&str> {
    let tag = tag.trim_start_matches(['-', '+']).trim_start();
    if !["include", "extends", "import", "from"].iter().any(|verb| tag.starts_with(verb)) {
        return Vec::new();
    }
    let quoted = |quote: char| tag.split(quote).skip(1).step_by(2);
    quoted('"').chain(quoted('\'')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_with_their_lines() {
        let text = "a {{ b }}\n{# {{ no }} #}{%- if c -%}\n{ {{d}}";
        assert_eq!(tags(text, Kind::Jinja), [(1, " b "), (2, "- if c -"), (3, "d")]);
        let text = "{{!-- {{ no }} --}}{{! no }}\n{{{ a }}}{{#> b }}";
        assert_eq!(tags(text, Kind::Handlebars), [(2, " a "), (2, "#> b ")]);
        assert_eq!(tags("{{ unended", Kind::Jinja), [(1, " unended")]);
    }

    #[test]
    fn subjects_are_found() {
        assert_eq!((subject("#if user.name"), subject("~#each docs as |d|~")), (Some("user.name"), Some("docs")));
        assert_eq!((subject("else if a"), subject("else"), subject("a"), subject("#if this.a")), (Some("a"), None, None, None));
        assert_eq!((subject("#if @first"), subject("#each (lookup a b)"), subject("#if ../a")), (None, None, None));
        let names = |tag| bound(tag).collect::<Vec<_>>();
        assert!(names("#each docs as |doc i|").starts_with(&["doc", "i"]) && names("> head title=\"x\" sub = y").contains(&"sub"));
        assert!(names("#if company").is_empty() && names("> head title=\"x\"").contains(&"title"));
    }

    #[test]
    fn includes_are_found() {
        assert_eq!(partial("> header"), Some("header"));
        assert_eq!(partial("~#> \"a/b\" x=1"), Some("a/b"));
        assert_eq!((partial("> (lookup . 'x')"), partial("> @partial-block"), partial("#if a")), (None, None, None));
        assert_eq!(included("- include 'a.j2' -"), ["a.j2"]);
        assert_eq!(included("include [\"a\", \"b\"]"), ["a", "b"]);
        assert!(included("if x == 'a.j2'").is_empty());
    }
}
