#!/usr/bin/env bash
# A tour of a testnet, driven from a shell: eight nodes come up, a transaction enters at one and reaches all others,
# everything goes down again, and then a measurement does the same with figures. Fails on the first thing that is not
# as it should be. Needs cargo and jq; takes less than two minutes once the programs are built.
#
#   testnet/tour.sh
set -euo pipefail

cd "$(dirname "$0")/.."
nodes=8
dir=$(mktemp -d)
target=${CARGO_TARGET_DIR:-target}
starling() { "$target/release/starling" "$@"; }
testnet() { "$target/release/starling-testnet" "$@"; }
say() { printf '\n== %s\n' "$*" >&2; }

cleanup() {
    code=$?
    trap - EXIT
    if [ -e "$dir/tour/manifest.json" ]; then
        testnet down --dir "$dir" --name tour || true
    fi
    rm -rf "$dir"
    if [ "$code" -eq 0 ]; then say "done"; else say "the tour FAILED with exit code $code"; fi
    exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say "building"
cargo build --release --locked -p starling-node -p starling-testnet

say "a testnet of $nodes nodes that makes blocks"
testnet up --dir "$dir" --name tour --nodes "$nodes" --block-interval 1s --detach
manifest=$dir/tour/manifest.json
keys=$(jq -r .accounts.keys "$manifest")
url() { jq -r ".nodes[$1].rpc" "$manifest"; }

say "one of its accounts pays another, through node 0"
bob=$(starling keys show "$keys/account-01.pem" --json | jq -r .account)
before=$(starling account get "$bob" --rpc "$(url 0)" --json | jq -r .balance)
tx=$(starling tx send --key "$keys/account-00.pem" --to "$bob" --amount 5 --rpc "$(url 0)" --json | jq -r .id)
echo "$tx"

say "every other node hears of it"
for ((node = 1; node < nodes; node++)); do
    state=$(starling tx get "$tx" --wait 10s --rpc "$(url "$node")" --json | jq -r .state)
    echo "node $node: $state"
done

say "and every node's accounts come to show it"
for ((node = 0; node < nodes; node++)); do
    deadline=$((SECONDS + 20))
    until [ "$(starling account get "$bob" --rpc "$(url "$node")" --json | jq -r .balance)" -eq $((before + 5)) ]; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "node $node did not get there" >&2; exit 1; }
        sleep 0.2
    done
done
testnet status --dir "$dir" --name tour
testnet status --dir "$dir" --name tour --json |
    jq -e '([.nodes[].account_digest] | unique | length) == 1 and all(.nodes[]; .alive)' >/dev/null

say "a load of some seconds"
testnet load --dir "$dir" --name tour --rate 20 --duration 5s --json | jq -e '.submitted == 100 and .rejected == 0'

say "down"
testnet down --dir "$dir" --name tour

say "a measurement, which brings up and ends a testnet of its own"
testnet measure --nodes "$nodes" --rate 20 --duration 5s --threshold 'delivery>=1' --threshold 'p99<1s'
