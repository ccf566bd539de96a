#!/usr/bin/env bash
# Write the locks anew from pyproject.toml, keeping the versions that are locked where they still fit.
# With --check: fail if that would change anything. With --upgrade: take the newest versions.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
uv=${UV:-.venv/bin/uv}
locks=(requirements-pip.lock requirements.lock requirements-dev.lock)
lock() { # output, then uv's arguments
  local out=$1; shift
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-annotate --no-header "$@" --output-file "$out" 2>"$work/errors" || { cat "$work/errors" >&2; exit 1; }
}
lock_all() { # folder, then uv's arguments
  local folder=$1; shift
  lock "$folder/requirements-pip.lock" --group installer "$@"
  lock "$folder/requirements.lock" pyproject.toml "$@"
  lock "$folder/requirements-dev.lock" pyproject.toml --extra dev --constraint "$folder/requirements.lock" "$@"
}
case ${1:-} in
  --check)
    cp "${locks[@]}" "$work"
    lock_all "$work"
    for name in "${locks[@]}"; do
      cmp -s "$name" "$work/$name" || { echo "$name is not what pyproject.toml asks for: run make lock" >&2; exit 1; }
    done
    ! grep -nE '(index-url|find-links|https?://)' "${locks[@]}" || { echo "a lock names a registry" >&2; exit 1; } ;;
  *)
    lock_all . "$@" ;;
esac
