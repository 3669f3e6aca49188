#!/usr/bin/env bash
# Brings Chromium, PostgreSQL and the GL libraries of the renderer from the system's packages, where the machine lets it.
# Where it does not, the tests that need them skip, and say so.
set -u
missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
ldconfig -p 2>/dev/null | grep -q libEGL.so.1 || missing+=(libegl1 libgl1-mesa-dri)
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "!! Not installed, and this system has no apt-get: ${missing[*]}. The tests that need them will be SKIPPED."
  exit 0
fi
run() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }
echo "→ Installing from the system's packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
if ! { run apt-get update -qq && run apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }; then
  echo "!! Could not install ${missing[*]}. The tests that need them will be SKIPPED."
fi
exit 0
