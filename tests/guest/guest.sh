# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
# shellcheck shell=dash
#
# Functions for init and for the jobs.

# Sets $p_KEY for each viommu.KEY=VALUE of the kernel's command line.
read_parameters() {
	# shellcheck disable=SC2013 # words are wanted
	for word in $(cat /proc/cmdline); do
		case $word in
		viommu.*=*)
			word=${word#viommu.}
			eval "p_${word%%=*}=\${word#*=}"
			;;
		esac
	done
	p_out=${p_out:-/dev/console}
}

# One line for whoever runs this guest: result KEY=VALUE...
result() {
	echo "VIOMMU: $*" >"$p_out"
}

# A block of lines for whoever runs this guest: result_block NAME <lines
result_block() {
	{
		echo "VIOMMU: begin=$1"
		cat
		echo "VIOMMU: end_of=$1"
	} >"$p_out"
}

# run_job NAME FILE: runs it in a shell of its own, reports how it ended.
run_job() {
	if [ ! -e "$2" ]; then
		result job="$1" status=2 reason=no-such-job
		return 1
	fi
	# shellcheck disable=SC1090 # the job
	(. "$2")
	code=$?
	result job="$1" status=$code
	return $code
}

# fail TEXT...: the job ends here, and has failed.
fail() {
	result failed="$(echo "$*" | tr ' ' '_')"
	exit 1
}

# skip TEXT...: the job cannot run here.
skip() {
	result skipped="$(echo "$*" | tr ' ' '_')"
	exit 77
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	end=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $end ] || return 1
		sleep 0.1
	done
}

# The PCI address of the first device with this vendor:device (hex).
find_pci() {
	for device in /sys/bus/pci/devices/*; do
		read -r vendor <"$device/vendor"
		read -r id <"$device/device"
		if [ "${vendor#0x}:${id#0x}" = "$1" ]; then
			echo "${device##*/}"
			return 0
		fi
	done
	return 1
}

# The disk under test: viommu.disk, else the first virtio or NVMe one. Waits up
# to 20 seconds, or as many as given.
find_disk() {
	if [ -n "$p_disk" ]; then
		wait_for "${1:-20}" test -b "/dev/$p_disk" && echo "$p_disk"
		return
	fi
	wait_for "${1:-20}" eval 'ls /dev/vda || ls /dev/nvme0n1' || return 1
	if [ -b /dev/vda ]; then echo vda; else echo nvme0n1; fi
}

# The PCI address behind a disk.
disk_pci() {
	path=$(readlink -f "/sys/block/$1")
	echo "$path" | tr / '\n' | grep -E '^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$' | tail -n1
}

# pci_driver ADDRESS: the driver it is bound to, or "none".
pci_driver() {
	if [ -e "/sys/bus/pci/devices/$1/driver" ]; then
		basename "$(readlink "/sys/bus/pci/devices/$1/driver")"
	else
		echo none
	fi
}

# bind_vfio ADDRESS: takes it from its driver and gives it to vfio-pci.
bind_vfio() {
	modprobe vfio_iommu_type1 allow_unsafe_interrupts=1
	modprobe vfio_pci
	echo 1 2>/dev/null >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts
	if [ "$(pci_driver "$1")" != none ]; then
		echo "$1" >"/sys/bus/pci/devices/$1/driver/unbind"
	fi
	echo vfio-pci >"/sys/bus/pci/devices/$1/driver_override"
	echo "$1" >/sys/bus/pci/drivers_probe
	[ "$(pci_driver "$1")" = vfio-pci ]
}

# release_vfio ADDRESS: gives it back to its own driver.
release_vfio() {
	echo "$1" >"/sys/bus/pci/devices/$1/driver/unbind"
	echo >"/sys/bus/pci/devices/$1/driver_override"
	echo "$1" >/sys/bus/pci/drivers_probe
}

# pci_group ADDRESS: its IOMMU group's number, or "none".
pci_group() {
	if [ -e "/sys/bus/pci/devices/$1/iommu_group" ]; then
		basename "$(readlink "/sys/bus/pci/devices/$1/iommu_group")"
	else
		echo none
	fi
}

# How many fault lines the kernel has logged.
fault_count() {
	dmesg | grep -c 'virtio_iommu.*fault from EP'
}

# Passes result lines of a program on, and keeps its exit status.
report() {
	"$@" >/tmp/report 2>/tmp/report.err
	code=$?
	sed 's/^/VIOMMU: /' /tmp/report >"$p_out"
	if [ -s /tmp/report.err ]; then
		result_block "$(basename "$1")-stderr" </tmp/report.err
	fi
	return $code
}

# The network card under test: viommu.nic, else the first one.
find_nic() {
	modprobe virtio_net
	if [ -n "$p_nic" ]; then
		wait_for 20 test -e "/sys/class/net/$p_nic" && echo "$p_nic"
		return
	fi
	wait_for 20 eval 'ls -d /sys/class/net/e*' || return 1
	for nic in /sys/class/net/e*; do
		echo "${nic##*/}"
		return
	done
}

# The PCI address behind the network card.
net_pci() {
	readlink -f "/sys/class/net/$(find_nic)" | tr / '\n' |
		grep -E '^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$' | tail -n1
}

# Gets the card an address by DHCP.
net_up() {
	nic=$(find_nic) || return 1
	ip link set lo up
	ip link set "$nic" up
	cat >/tmp/udhcpc <<-'END'
		#!/bin/sh
		[ "$1" = bound ] || exit 0
		ip addr flush dev "$interface"
		ip addr add "$ip/24" dev "$interface"
		ip route add default via "$router"
	END
	chmod +x /tmp/udhcpc
	udhcpc -i "$nic" -n -q -t 20 -T 1 -s /tmp/udhcpc >/tmp/udhcpc.log 2>&1 || {
		result_block udhcpc-error </tmp/udhcpc.log
		return 1
	}
	result nic="$nic" address="$(ip -4 -o addr show dev "$nic" | tr -s ' ' | cut -d' ' -f4)"
}

# Megabits a second that the receiver saw, from iperf3's JSON.
iperf_mbits() {
	sed -n '/"sum_received"/,/}/s/.*"bits_per_second":[[:space:]]*\([0-9]*\).*/\1/p' "$1" |
		awk '{ printf "%d", $1 / 1000000 }'
}
