# shellcheck shell=bash
# shellcheck disable=SC2034
# Debian packages that are needed, and a way to install those that are missing. Sourced, never run.

# To build mtd.
BUILD_PACKAGES=(g++ cmake ninja-build pkg-config libsystemd-dev libseccomp-dev libsqlite3-dev nlohmann-json3-dev
  libspdlog-dev libcli11-dev doctest-dev librapidcheck-dev python3)
# What the examples run.
EXAMPLE_PACKAGES=(redis-server)
# To run the whole test suite. Without one of these the tests that need it are skipped.
TEST_PACKAGES=(python3-pytest clang-14 libclang-rt-14-dev clang-tidy-14 clang-format-14 shellcheck mandoc groff-base
  nginx-light strace procps golang-go golang-github-varlink-go-dev ccache git binutils fish zsh
  libpython3.11-testsuite nodejs
  systemd dbus libpam-systemd dpkg-dev debhelper dh-python lintian gunicorn prometheus
  php-fpm wrk openssh-client openssh-server python3-yaml)
# More for tests/run.sh --full: a bare Debian, a virtual machine, and the examples of the manual.
FULL_PACKAGES=(mmdebstrap qemu-system-x86 kmod busybox-static jq)

# Prints those of its arguments that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      printf '%s\n' "$package"
    fi
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_be_root() {
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >/dev/null
}

# install_packages PACKAGE…: installs those that are missing, and only those; 1 when that is not possible.
# Some of them are services on Debian. None is started, and none that came by this is left to start at boot.
install_packages() {
  local missing package service policy=/usr/sbin/policy-rc.d guarded=no
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! command -v apt-get >/dev/null || ! can_be_root; then
    echo "missing packages: ${missing[*]} (install them, or run this as root or through sudo)" >&2
    return 1
  fi
  echo "installing: ${missing[*]}"
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 0755 "$policy"
    guarded=yes
  fi
  local result=0
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >/dev/null || true
  if ! apt_install "${missing[@]}"; then
    # One that cannot be had must not keep the others away.
    for package in "${missing[@]}"; do apt_install "$package" || result=1; done
  fi
  [ "$guarded" = no ] || as_root rm -f "$policy"
  for package in "${missing[@]}"; do
    case $package in
      redis-server | nginx-light | php-fpm | prometheus | openssh-server)
        if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
          service=${package%-light}
          [ "$service" != openssh-server ] || service=ssh
          [ "$service" != php-fpm ] || service=$(systemctl list-unit-files 'php*-fpm.service' --no-legend | cut -d' ' -f1)
          as_root systemctl -q disable "${service%.service}.service" || true
        fi ;;
    esac
  done
  return "$result"
}
