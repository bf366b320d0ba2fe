// SPDX-License-Identifier: Apache-2.0
// Answers that repeat themselves, written small: a page of metrics shrinks to a thirtieth.
#pragma once
#include <string_view>

#include <culvert/admin/doors.hpp>

namespace culvert::admin {

// What an Accept-Encoding header says about it.
bool takes_gzip(std::string_view accepted);
// An answer that would not be smaller, or for which there is no memory, stays as it is.
void gzip(Answer& answer);

}
