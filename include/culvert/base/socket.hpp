// SPDX-License-Identifier: Apache-2.0
// A non-blocking TCP socket that one worker watches.
#pragma once
#include <culvert/base/address.hpp>
#include <culvert/base/loop.hpp>
#include <culvert/base/task.hpp>

namespace culvert::base {

// Keepalive and user timeout for every long-lived socket; ztunnel's names and defaults (KEEPALIVE_*).
struct KeepAlive {
    int idle_s = 180;
    int interval_s = 180;
    int retries = 9;
    // With data that nobody acknowledges, gives up after this long; 0: the kernel's own. Off in ztunnel, which would
    // take time + retries x interval, as we do.
    int user_timeout_ms = 1'800'000;
};
Result<> set_keepalive(int fd, const KeepAlive&);
Result<> set_nodelay(int fd);
// Closed with RST instead of FIN, also by the kernel when the process is killed. Unsent bytes are then lost.
Result<> set_reset_on_close(int fd, bool on);

// Lives on: one loop. Owns: the descriptor, which it closes.
// Readiness is edge-triggered and remembered: a flag stays set until the user met EAGAIN and cleared it.
class Socket : private Ready {
public:
    // Told of every change. Set while bytes flow; a coroutine that waits needs none.
    class Observer {
    public:
        virtual void on_socket_ready(Socket& socket) = 0;

    protected:
        ~Observer() = default;
    };

    // The descriptor must be non-blocking. Fails when epoll refuses it.
    static Result<std::unique_ptr<Socket>> watch(Loop& loop, Fd fd);

    int fd() const noexcept { return fd_.get(); }
    Loop& loop() const noexcept { return watch_.loop(); }
    void observe(Observer* observer) noexcept { observer_ = observer; }

    bool maybe_readable() const noexcept { return readable_; }
    bool maybe_writable() const noexcept { return writable_; }
    bool hung_up() const noexcept { return hung_up_; }  // EPOLLHUP or EPOLLERR: both directions are over
    // The peer has sent its FIN: after a short read there is still an end of stream to read.
    bool peer_half_closed() const noexcept { return peer_half_closed_; }
    void drained() noexcept { readable_ = false; }    // a read said EAGAIN, or came back short without a FIN
    void congested() noexcept { writable_ = false; }  // a write said EAGAIN, or was short

    // For coroutines; one waiter for both.
    Task<> wait_readable();
    Task<> wait_writable();

    // shutdown(2) of one direction; errors are of no use to anybody.
    void finish_writing() noexcept;
    // set_reset_on_close(): the peer must not mistake a failure for an end of stream.
    void close_with_reset(bool on) noexcept;

private:
    Socket(Loop& loop, Fd fd) noexcept : fd_{std::move(fd)}, watch_{loop, *this}, changed_{loop} {}
    void on_ready(std::uint32_t events) override;

    Fd fd_;
    bool readable_ = false;
    bool writable_ = false;
    bool hung_up_ = false;
    bool peer_half_closed_ = false;
    Watch watch_;  // after fd_: stops watching before the descriptor closes
    Event changed_;
    Observer* observer_ = nullptr;
};

// Connects a fresh, non-blocking, unconnected socket. Fails with the kernel's error; the caller sets the limit by
// within().
Task<Result<std::unique_ptr<Socket>>> connect(Loop& loop, Fd fd, SocketAddress to);

}
