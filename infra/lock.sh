#!/usr/bin/env bash
# Write the locks anew from pyproject.toml, keeping the versions that are locked where they still fit.
# With --check: fail if that would change anything. With --upgrade: take the newest versions.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
uv=${UV:-.venv/bin/uv}
lock() { # output, then uv's arguments
  local out=$1; shift
  "$uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-annotate --no-header "$@" --output-file "$out" 2>"$work/errors" || { cat "$work/errors" >&2; exit 1; }
}
case ${1:-} in
  --check)
    cp requirements.lock requirements-dev.lock "$work"
    lock "$work/requirements.lock"
    lock "$work/requirements-dev.lock" --extra dev --constraint requirements.lock
    for name in requirements.lock requirements-dev.lock; do
      cmp -s "$name" "$work/$name" || { echo "$name is not what pyproject.toml asks for: run make lock" >&2; exit 1; }
    done
    ! grep -nE '(index-url|find-links|https?://)' requirements.lock requirements-dev.lock || {
      echo "a lock names a registry" >&2; exit 1; } ;;
  *)
    lock requirements.lock "$@"
    lock requirements-dev.lock --extra dev --constraint requirements.lock "$@" ;;
esac
