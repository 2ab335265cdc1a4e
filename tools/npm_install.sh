#!/bin/sh
# `tools/npm_install.sh PACKAGE@VERSION FOLDER` installs a program from npm that only tests run, with the Node.js of .venv.
# What is there already is left as it is.
set -eu
package=$1 folder=$2
[ "$(cat "$folder/made-from.txt" 2>/dev/null)" != "$package" ] || exit 0
echo "==> Installing $package into $folder"
rm -rf "$folder"
mkdir -p "$folder"
# Certificates of the system, as pip and curl take them: Node.js has a list of its own.
NODE_USE_SYSTEM_CA=1 .venv/bin/npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts \
    --prefix "$folder" "$package"
echo "$package" >"$folder/made-from.txt"
