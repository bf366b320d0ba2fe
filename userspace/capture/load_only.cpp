// SPDX-License-Identifier: Apache-2.0
#include "load_only.hpp"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>

namespace culvert::capture {
namespace {

// Whole pages only. Nobody writes there, so the file has every byte.
void unmap(std::uintptr_t begin, std::size_t size) noexcept {
    const auto page = static_cast<std::uintptr_t>(::getpagesize());
    const std::uintptr_t first = (begin + page - 1) / page * page, end = (begin + size) / page * page;
    if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

int unmap_libbpf(dl_phdr_info* library, std::size_t, void*) noexcept {
    if (std::string_view{library->dlpi_name}.find("/libbpf.so") == std::string_view::npos) return 0;
    for (int i = 0; i < library->dlpi_phnum; ++i) {
        const auto& segment = library->dlpi_phdr[i];
        if (segment.p_type == PT_LOAD && !(segment.p_flags & PF_W))
            unmap(library->dlpi_addr + segment.p_vaddr, segment.p_memsz);
    }
    return 1;
}

}

void unmap_what_loading_read(std::string_view object) noexcept {
    ::dl_iterate_phdr(unmap_libbpf, nullptr);
    unmap(reinterpret_cast<std::uintptr_t>(object.data()), object.size());
}

}
