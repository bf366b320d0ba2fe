// SPDX-License-Identifier: Apache-2.0
// What only the loading of programs reads: most of libbpf, and the object that is compiled into us. Mapped files, which
// count as this process's memory from the first touch.
#pragma once
#include <string_view>

namespace culvert::capture {

// They stay in the page cache: whoever needs a page again, as for the next pod, has it without a read.
void unmap_what_loading_read(std::string_view object) noexcept;

}
