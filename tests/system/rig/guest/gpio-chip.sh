#!/bin/sh
# Set up the GPIO simulator as the chip of a Raspberry Pi 4. Afterwards /run/rig/gpio/sim_gpioN/ has
#   value   the level of line N: what an LED on it would show
#   pull    what the outside world does to it: pull-up, or pull-down for a pressed button
set -e
[ -d /sys/bus/platform/drivers/gpio-sim ] || modprobe gpio-sim
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
device=/sys/kernel/config/gpio-sim/rig
mkdir $device $device/bank0
echo pinctrl-bcm2711 > $device/bank0/label
echo 58 > $device/bank0/num_lines
for line in $(seq 0 27); do mkdir $device/bank0/line$line; echo GPIO$line > $device/bank0/line$line/name; done
echo 1 > $device/live
mkdir -p /run/rig
ln -sfn "/sys/devices/platform/$(cat $device/dev_name)/$(cat $device/bank0/chip_name)" /run/rig/gpio
