#!/usr/bin/env bash
# What a build (`build`) or the tests (`test`) need: installed on Debian and Ubuntu when it may be, named elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null && sudo=(sudo -n) || sudo=(false)
  fi
  if command -v apt-get >/dev/null 2>&1 && [ "${sudo[*]-}" != false ]; then
    echo "installing: ${missing[*]}" >&2
    "${sudo[@]}" apt-get update -qq && "${sudo[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null
  else
    echo "please install: ${missing[*]} (names of Debian's packages), then run this again" >&2
    exit 1
  fi
  missing=()
}

if ! command -v cargo >/dev/null 2>&1; then
  echo "please install a Rust toolchain with rustup: https://rustup.rs" >&2
  exit 1
fi
need cc gcc
need make make
[ "${1:-build}" = test ] && { need java openjdk-17-jre-headless; need mvn maven; need python3 python3; }
install_missing
[ "${1:-build}" = test ] || exit 0

operators/kafka/broker/broker.sh fetch

# DuckDB and Delta Lake's Python package read what the sinks wrote, with no help from us; moto speaks S3 to checkpoints.
python=${CARGO_TARGET_DIR:-target}/python
if ! "$python/bin/python" -c 'import duckdb, deltalake, moto, flask_cors' 2>/dev/null; then
  python3 -c 'import venv, ensurepip' 2>/dev/null || { missing=(python3-venv); install_missing; }
  python3 -m venv "$python"
  "$python/bin/pip" install --quiet 'duckdb==1.4.*' 'deltalake==1.*' \
    'moto[s3]==5.1.*' 'flask==3.1.*' 'flask-cors==6.0.*'
fi
