// SPDX-License-Identifier: Apache-2.0
// Preloaded into a daemon under test, never part of one: while armed, allocations of its workers' threads are numbered,
// and those from `first` on, `burst` of them, fail. operator new, OpenSSL and nghttp2 all come here.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "failing_malloc.hpp"

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
}

namespace {

using culvert::test::MallocOrders;

// -1: not looked for yet.
MallocOrders* orders = reinterpret_cast<MallocOrders*>(-1);
__thread bool is_worker __attribute__((tls_model("initial-exec"))) = false;

MallocOrders* find_orders() {
    const char* path = ::getenv("CULVERT_MALLOC_ORDERS");
    const int file = path ? ::open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return nullptr;
    void* at = ::mmap(nullptr, sizeof(MallocOrders), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    return at == MAP_FAILED ? nullptr : static_cast<MallocOrders*>(at);
}

bool fails() {
    if (orders == reinterpret_cast<MallocOrders*>(-1)) orders = find_orders();
    if (!orders || orders->armed_for.load(std::memory_order_relaxed) != ::getpid()) return false;
    if (!is_worker) {
        char name[16] = "";
        ::prctl(PR_GET_NAME, name);
        is_worker = std::strncmp(name, "worker-", 7) == 0;
        if (!is_worker) return false;
    }
    const auto number = orders->seen++;
    if (number < orders->first || number - orders->first >= orders->burst) return false;
    ++orders->failed;
    errno = ENOMEM;
    return true;
}

}

extern "C" {

void* malloc(std::size_t size) noexcept {
    return fails() ? nullptr : __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
    return fails() ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) noexcept {
    return size != 0 && fails() ? nullptr : __libc_realloc(old, size);
}
}
