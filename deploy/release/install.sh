#!/bin/sh
# Installs Wardround into a new virtual environment; no network is used.
#
#   sh install.sh TARGET [BUILDER.pem]
#
# TARGET must not be there yet. With BUILDER.pem, the public key that the builder gave you by another way, the
# signature is checked first. PYTHON names the interpreter (@PYTHON@ is needed).
set -eu

fail() { printf 'Error: %s\n' "$1" >&2; exit 1; }

[ $# -ge 1 ] || fail "name a folder to install into: sh install.sh TARGET [BUILDER.pem]"
case $1 in /*) target=$1 ;; *) target=$PWD/$1 ;; esac
case ${2-} in "" | /*) key=${2-} ;; *) key=$PWD/$2 ;; esac
python=${PYTHON:-python@PYTHON@}
cd "$(dirname "$0")"

[ ! -e "$target" ] || fail "$target is there already; name a new folder."
[ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = @PYTHON@ ] ||
  fail "this bundle is for Python @PYTHON@; install that, or set PYTHON to where it is."

if [ -n "$key" ]; then
  [ -f SHA256SUMS.sig ] || fail "this bundle is not signed; ask its builder for one that is."
  signed=$(mktemp)
  trap 'rm -f "$signed"' EXIT
  { printf 'WARDENV\n\000\001\006bundle\007builder'; cat SHA256SUMS; } >"$signed"
  openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$signed" -sigfile SHA256SUMS.sig >/dev/null ||
    fail "the signature does not hold; do not install. Get the bundle from its builder again."
  echo "Signature: holds."
else
  echo "Signature: not checked; name the builder's public key to check it."
fi
sha256sum --check --quiet SHA256SUMS || fail "a file is damaged or missing; copy the bundle again."

undo() { rm -rf "$target"; fail "nothing was installed; see above."; }
"$python" -m venv "$target" || undo
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links wheels \
  --require-hashes --requirement requirements.txt || undo
"$target/bin/wardround" --version || undo
echo "Installed. The command is $target/bin/wardround"
