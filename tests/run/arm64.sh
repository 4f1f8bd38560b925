#!/usr/bin/env bash
# What a boot on arm64 needs besides artifacts.sh: the agent, cross-compiled by Debian's gcc, and its boot image. Sourced:
# sets AGENT_ARM64 and BOOT_IMAGE_ARM64.
BOOT_IMAGE_ARM64=$build/boot-image-arm64
target_arm64=aarch64-unknown-linux-gnu
AGENT_ARM64=${CARGO_TARGET_DIR:-$repo/target}/$target_arm64/agent/muster-agent

agent_arm64() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target_arm64" ] || rustup target add "$target_arm64"
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
        RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile agent -p muster-agent --target "$target_arm64"
}

timed "agent-arm64" agent_arm64
timed "boot-image-arm64" "$repo/pxe-images/boot-image/build.sh" "$BOOT_IMAGE_ARM64" "$AGENT_ARM64" arm64
