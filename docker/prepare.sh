#!/bin/sh
# Plays the founding of a consortium: `prepare.sh PARTIES` makes one folder for each party, with what that
# party alone would hold. Real hospitals make their own keys and are enrolled by invitation.
set -eu
parties=$1
here=$(dirname "$0")
if [ -e "$parties/coordinator/federation.toml" ]; then exit; fi # founded at an earlier start

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fed-sim phantoms --sites 3 --test-patients 1 --out "$work/data"
fed-server dev-certificates --out "$work/keys" --host server \
  --site hospital-1 --site hospital-2 --site hospital-3
model=$(fed-client model --task "$work/data/task.toml")

fingerprint() {
  python -c 'import sys; from pathlib import Path; from fed_common.signing import VerifyingKey
print(VerifyingKey.load(Path(sys.argv[1])).spoken)' "$work/keys/$1/identity.pub"
}
# As hospitals read them to each other over the phone.
peers="$(fingerprint hospital-1)\", \"$(fingerprint hospital-2)\", \"$(fingerprint hospital-3)"

coordinator=$parties/coordinator
for site in hospital-1 hospital-2 hospital-3; do
  mkdir -p "$parties/$site/keys" "$coordinator/sites/$site"
  cp -R "$work/data/task.toml" "$work/data/$site/images" "$work/data/$site/labels.csv" "$parties/$site"
  cp "$work/keys/$site/"* "$parties/$site/keys"
  sed -e "s/HOSPITAL/$site/" -e "s/MODEL/$model/" -e "s/PEERS/$peers/" \
    "$here/site.toml" > "$parties/$site/site.toml"
  fed-client policy keys --out "$work/officers/$site"  # the private half stays with the officer: here, nowhere
  cp "$work/officers/$site/officer.pub" "$parties/$site/keys"
  cp "$work/officers/$site/officer.pub" "$coordinator/sites/$site"
  fed-client policy sign --config "$parties/$site/site.toml" --key "$work/officers/$site/officer.key"
done
mkdir -p "$coordinator/keys"
cp "$work/keys/server/"* "$work/keys/ca.crt" "$coordinator/keys"  # ca.key stays away
mkdir -p "$parties/coordinator-state"
cp -R "$work/keys/registry" "$parties/coordinator-state"  # the server writes there, and nowhere else
cp "$work/data/task.toml" "$here/federation.toml" "$coordinator" # the last: it says that all is done
