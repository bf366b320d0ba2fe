// SPDX-License-Identifier: Apache-2.0
// A file system that nobody else sees, where the mount table has none or only a poor one.
#pragma once
#include <culvert/base/fd.hpp>

namespace culvert::capture {

// Its root; empty with errno set where that does not go (it wants CAP_SYS_ADMIN, and no AppArmor profile against it).
base::Fd mount_privately(const char* type) noexcept;

}
