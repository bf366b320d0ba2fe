// SPDX-License-Identifier: Apache-2.0
// Where a daemon and culvertctl meet when nobody says where.
#pragma once
#include <string>

namespace culvert::admin {

inline constexpr char control_sockets[] = "/run/culvert";  // a folder for each node

inline std::string control_socket(const std::string& node) {
    return std::string{control_sockets} + "/" + node + "/culvertd.sock";
}

}
