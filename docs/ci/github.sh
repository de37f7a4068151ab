#!/usr/bin/env bash
# Checks, writes annotations, the job's summary and the comment on the pull request, and ends as the check did.
#
# Takes from the environment: ARGUMENTS (more arguments of `tokentide check`), BASE (a commit; empty: found by tokentide), COMMENT
# (update, new or none), MARKER (name of the comment), PULL_REQUEST (its number; empty: no comment), GH_TOKEN, and GitHub's own
# GITHUB_REPOSITORY, GITHUB_OUTPUT and GITHUB_STEP_SUMMARY. Needs tokentide, gh and jq.
set -uo pipefail

marker=${MARKER:-default}
page=$(mktemp)
trap 'rm -f "$page"' EXIT
read -ra more <<<"${ARGUMENTS:-}"
[ -z "${BASE:-}" ] || more+=(--base "$BASE")

tokentide check "${more[@]}" --marker "$marker" --format markdown --output "$page"
code=$?
echo "code=$code" >>"${GITHUB_OUTPUT:-/dev/null}"
if [ "$code" -gt 1 ]; then
    echo "::error title=tokentide::the check could not be made: see the log"
    exit "$code"
fi
tokentide check "${more[@]}" --format github --quiet
cat "$page" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"

# The comment of this marker, whoever wrote it last: several tools may share one token.
find_comment() {
    gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$PULL_REQUEST/comments" \
        --jq ".[] | select(.body | startswith(\"<!-- tokentide:$marker -->\")) | .id" | tail -n 1
}

comment() {
    local id=""
    [ "${COMMENT:-update}" = new ] || id=$(find_comment) || return 1
    if [ -n "$id" ]; then
        gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$id" -F "body=@$page" >/dev/null
    else
        gh api --method POST "repos/$GITHUB_REPOSITORY/issues/$PULL_REQUEST/comments" -F "body=@$page" >/dev/null
    fi
}

if [ -n "${PULL_REQUEST:-}" ] && [ "${COMMENT:-update}" != none ]; then
    # Pull requests from forks get a token that may only read.
    comment || echo "::notice title=tokentide::no comment could be written: the job's summary has the text"
fi
exit "$code"
