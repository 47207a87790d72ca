#!/usr/bin/env bash
# One Apache Kafka broker (KRaft, single node) for tests, benchmarks and demos. Needs Java 17 and Maven, nothing else.
#
#   broker.sh fetch          get the jars, once
#   broker.sh start DIR      start a broker that keeps its data in DIR, wait until it answers, print its address
#   broker.sh address DIR    print the address of the broker of DIR
#   broker.sh stop DIR       stop it; its data stays
#   broker.sh run            a broker that lives as long as standard input stays open, data in a temporary folder that
#                            goes with it. Prints "ready PLAINTEXT_ADDRESS SASL_ADDRESS DIR"; then a line on standard
#                            input is a command: "stop" (graceful) or "kill" answers "stopped", "start" answers "ready …".
#
# Ports are free ones, found at the first start and kept in DIR. The second address takes SASL/PLAIN over plain text,
# user "reader", password "river". Data is not fsynced. Settings, from the environment:
#   THALWEG_BROKER_HEAP (512m)   the JVM's heap
#   THALWEG_BROKER_PORT          the first listener's port, instead of a free one
#   THALWEG_BROKER_LIB           where the jars lie (target/kafka/lib)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../../.." && pwd)
lib=${THALWEG_BROKER_LIB:-${CARGO_TARGET_DIR:-$repository/target}/kafka/lib}
heap=${THALWEG_BROKER_HEAP:-512m}
ready_limit_s=120
java=java
[ -n "${JAVA_HOME:-}" ] && java=$JAVA_HOME/bin/java

say() { echo "broker.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# ---- Java, Maven and the jars ---------------------------------------------------------------------------------------

java_works() {
  local version
  version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
  [ -n "$version" ] && [ "$version" -ge 17 ]
}

install_packages() {
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  say "installing $*"
  "${sudo[@]}" apt-get update -q >&2 && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
}

# need COMMAND PACKAGE WHAT: makes sure that COMMAND succeeds, by installing Debian's PACKAGE where that can be done.
need() {
  "$1" && return
  if command -v apt-get > /dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2> /dev/null; }; then
    install_packages "$2" || fail "can't install $2; the Kafka tests need $3: install it by hand"
    "$1" && return
  fi
  fail "the Kafka tests need $3: install it (Debian, Ubuntu: apt-get install $2) and see that it is on the PATH"
}
mvn_works() { command -v mvn > /dev/null; }

jars_there() { cmp -s "$here/pom.xml" "$lib/pom.xml"; }

fetch() {
  need java_works openjdk-17-jre-headless "Java 17 or newer"
  jars_there && return
  need mvn_works maven "Maven"
  mkdir -p "$(dirname "$lib")"
  # Test programs may start at the same time: one fetches, the others wait for it.
  exec 9> "$lib.lock"
  if command -v flock > /dev/null; then flock 9; fi
  if ! jars_there; then
    say "fetching Apache Kafka with Maven into $lib"
    local fresh=$lib.new
    rm -rf "$fresh"
    mvn -q -B -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$fresh" -DincludeScope=runtime >&2 \
      || fail "Maven could not fetch Apache Kafka: see its messages above; a mirror or proxy is set in ~/.m2/settings.xml"
    cp "$here/pom.xml" "$fresh/pom.xml"
    rm -rf "$lib"
    mv "$fresh" "$lib"
  fi
  exec 9>&-
}

# ---- the broker of a folder -----------------------------------------------------------------------------------------

port_free() { ! (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# Below the range that outgoing connections take their ports from, so that nobody grabs one between look and use.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    port_free "$port" && { echo "$port"; return; }
  done
}

configure() {
  local dir=$1 ports
  mkdir -p "$dir/tmp"
  [ -f "$dir/ports" ] || echo "${THALWEG_BROKER_PORT:-$(free_port)} $(free_port) $(free_port)" > "$dir/ports"
  read -r -a ports < "$dir/ports"
  echo "127.0.0.1:${ports[0]} 127.0.0.1:${ports[1]}" > "$dir/addresses"
  cat > "$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${ports[2]}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:${ports[0]},SASL_PLAINTEXT://127.0.0.1:${ports[1]},CONTROLLER://127.0.0.1:${ports[2]}
advertised.listeners=PLAINTEXT://127.0.0.1:${ports[0]},SASL_PLAINTEXT://127.0.0.1:${ports[1]}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_reader="river";
log.dirs=$dir/data
auto.create.topics.enable=false
# Internal topics are replicated three times by default: with one broker, groups and transactions would never be ready.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
# Compaction within a test's patience, in little memory.
log.cleaner.backoff.ms=200
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
P
}

java_options=(-XX:+UseG1GC -XX:MaxGCPauseMillis=20)
# Who must live for the broker to be of use; 0: nobody.
parent=0

# Sets `pid`. Where the system can, the JVM dies with the script that started it, whatever becomes of the script.
pid=
launch() {
  local dir=$1 prefix=()
  shift
  prefix=("$@")
  if [ ! -f "$dir/data/meta.properties" ]; then
    "$java" -Xmx128m -XX:TieredStopAtLevel=1 -XX:-UsePerfData -cp "$lib/*" kafka.tools.StorageTool format -t dGhhbHdlZy10aGFsd2VnLQ -c "$dir/server.properties" > "$dir/format.log" 2>&1 \
      || fail "can't format the broker's folder: $(cat "$dir/format.log")"
  fi
  : > "$dir/broker.log"
  "${prefix[@]}" "$java" -Xms128m -Xmx"$heap" "${java_options[@]}" -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData \
    -Djava.io.tmpdir="$dir/tmp" -Dlog4j2.configurationFile="$here/log4j2.properties" -cp "$lib/*" kafka.Kafka "$dir/server.properties" \
    >> "$dir/broker.log" 2>&1 < /dev/null 9>&- &
  pid=$!
  echo "$pid" > "$dir/broker.pid"
}

# await_ready DIR: true once the broker of DIR serves; 2 if a port was taken by somebody else.
await_ready() {
  local dir=$1 ports limit=$((SECONDS + ready_limit_s))
  read -r -a ports < "$dir/ports"
  while [ "$SECONDS" -lt "$limit" ]; do
    [ "$parent" = 0 ] || kill -0 "$parent" 2> /dev/null || exit 1
    if grep -q 'Kafka Server started' "$dir/broker.log" && ! port_free "${ports[0]}"; then return 0; fi
    if ! kill -0 "$pid" 2> /dev/null; then
      grep -q 'Address already in use' "$dir/broker.log" && return 2
      break
    fi
    sleep 0.1
  done
  tail -n 30 "$dir/broker.log" >&2
  return 1
}

# boot DIR [PREFIX …]: configure, launch, wait; other ports where one was snatched at the first start.
boot() {
  local dir=$1 result attempt first=no
  [ -f "$dir/ports" ] || first=yes
  for attempt in 1 2 3 4 5; do
    configure "$dir"
    launch "$@"
    result=0
    await_ready "$dir" || result=$?
    [ "$result" = 0 ] && return
    end "$pid"
    { [ "$result" = 2 ] && [ "$first" = yes ]; } || break
    say "a port was taken (attempt $attempt): trying others"
    rm -rf "$dir/ports" "$dir/data"
  done
  fail "the broker did not start: see $dir/broker.log"
}

# end PID: gracefully if it can be had within 20 s.
end() {
  local i
  kill "$1" 2> /dev/null || return 0
  for ((i = 0; i < 200; i++)); do
    kill -0 "$1" 2> /dev/null || return 0
    sleep 0.1
  done
  kill -9 "$1" 2> /dev/null || true
}

alive() { [ -f "$1/broker.pid" ] && kill -0 "$(cat "$1/broker.pid")" 2> /dev/null; }

start() {
  mkdir -p "$1"
  local dir
  dir=$(cd "$1" && pwd)
  if ! alive "$dir"; then
    fetch
    boot "$dir" $(command -v setsid > /dev/null && echo setsid) nohup
  fi
  address "$dir"
}

address() { [ -f "$1/addresses" ] || fail "no broker was started in $1"; cut -d ' ' -f 1 "$1/addresses"; }

stop() {
  alive "$1" && end "$(cat "$1/broker.pid")"
  rm -f "$1/broker.pid"
}

# ---- a broker on a leash --------------------------------------------------------------------------------------------

run() {
  # Interrupts are for the test program: this script ends when its standard input does, and takes the broker along.
  # (A handler that does nothing, rather than an ignored signal: the JVM would inherit that.)
  trap : INT HUP PIPE
  local dir command guard=()
  fetch
  dir=$(mktemp -d "${TMPDIR:-/tmp}/thalweg-broker.XXXXXX")
  # shellcheck disable=SC2064 # the folder of now
  trap "kill -9 \"\$pid\" 2> /dev/null || true; { wait; } 2> /dev/null; rm -rf '$dir'" EXIT
  # Quick to start rather than fast in the long run.
  java_options=(-XX:TieredStopAtLevel=1)
  parent=$PPID
  command -v setpriv > /dev/null && guard=(setpriv --pdeathsig KILL)
  boot "$dir" "${guard[@]}"
  echo "ready $(cat "$dir/addresses") $dir"
  while read -r command; do
    case $command in
      stop) end "$pid"; wait "$pid" 2> /dev/null || true; echo stopped ;;
      kill) kill -9 "$pid" 2> /dev/null || true; wait "$pid" 2> /dev/null || true; echo stopped ;;
      start) boot "$dir" "${guard[@]}"; echo "ready $(cat "$dir/addresses") $dir" ;;
      *) fail "unknown command \"$command\": stop, kill or start" ;;
    esac
  done
}

case "${1:-}" in
  fetch | run) "$1" ;;
  start | stop | address) [ -n "${2:-}" ] || fail "$1 needs a folder"; "$1" "$2" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
