// SPDX-License-Identifier: Apache-2.0
#include "uring.hpp"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include <culvert/base/fd.hpp>

#include "wait.hpp"

namespace culvert::test {
namespace {

class Mapping {
public:
    Mapping(int ring, off_t what, std::size_t bytes)
        : bytes_{bytes},
          start_{::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what)} {}
    Mapping(const Mapping&) = delete;
    ~Mapping() {
        if (*this) ::munmap(start_, bytes_);
    }
    explicit operator bool() const { return start_ != MAP_FAILED; }
    template <class T>
    T* at(std::uint32_t offset) const {
        return reinterpret_cast<T*>(static_cast<char*>(start_) + offset);
    }

private:
    std::size_t bytes_;
    void* start_;
};

std::uint32_t read(std::uint32_t* shared) {
    return std::atomic_ref{*shared}.load(std::memory_order_acquire);
}

// One entry in, one out.
int connect_through(unsigned flags, int fd, const sockaddr* to, socklen_t length) {
    io_uring_params params{};
    params.flags = flags;
    params.sq_thread_idle = 2000;
    const base::Fd ring{static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params))};
    if (!ring) return errno;
    const Mapping queue{ring.get(), IORING_OFF_SQ_RING,
                        params.sq_off.array + params.sq_entries * sizeof(std::uint32_t)};
    const Mapping done{ring.get(), IORING_OFF_CQ_RING, params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe)};
    const Mapping entries{ring.get(), IORING_OFF_SQES, params.sq_entries * sizeof(io_uring_sqe)};
    if (!queue || !done || !entries) return errno;

    auto& entry = *entries.at<io_uring_sqe>(0);
    entry = {};
    entry.opcode = IORING_OP_CONNECT;
    entry.fd = fd;
    entry.addr = reinterpret_cast<std::uintptr_t>(to);
    entry.off = length;
    *queue.at<std::uint32_t>(params.sq_off.array) = 0;
    std::atomic_ref{*queue.at<std::uint32_t>(params.sq_off.tail)}.store(1, std::memory_order_release);

    if (!(flags & IORING_SETUP_SQPOLL) && ::syscall(SYS_io_uring_enter, ring.get(), 1, 0, 0, nullptr, 0) < 0)
        return errno;
    const bool completed = eventually(10s, [&] {
        if (read(queue.at<std::uint32_t>(params.sq_off.flags)) & IORING_SQ_NEED_WAKEUP)
            ::syscall(SYS_io_uring_enter, ring.get(), 1, 0, IORING_ENTER_SQ_WAKEUP, nullptr, 0);
        return read(done.at<std::uint32_t>(params.cq_off.tail)) == 1;
    });
    if (!completed) return ETIMEDOUT;
    return -done.at<io_uring_cqe>(params.cq_off.cqes)->res;
}

}

int uring_connect(int fd, const sockaddr* to, socklen_t length) {
    return connect_through(0, fd, to, length);
}

int sqpoll_connect(int fd, const sockaddr* to, socklen_t length) {
    return connect_through(IORING_SETUP_SQPOLL, fd, to, length);
}

}
