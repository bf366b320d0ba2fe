// SPDX-License-Identifier: Apache-2.0
#include "lookup.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <signal.h>

#include <algorithm>
#include <mutex>
#include <system_error>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <culvert/base/fd.hpp>

namespace culvert::grpc {

namespace asio = boost::asio;

namespace {

using Addresses = base::Result<std::vector<base::IpAddress>>;

base::Error problem(const std::string& name, std::string_view why) {
    return base::problem(fmt::format("look up the address of {}: {}", name, why));
}

// In the order in which they are to be tried.
Addresses ask(const std::string& name) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* all = nullptr;
    const int error = ::getaddrinfo(name.c_str(), nullptr, &hints, &all);
    if (error == EAI_SYSTEM) return base::errno_while(fmt::format("look up the address of {}", name));
    if (error != 0) return problem(name, ::gai_strerror(error));
    const base::Handle<addrinfo, ::freeaddrinfo> owner{all};
    std::vector<base::IpAddress> addresses;
    for (const addrinfo* each = all; each != nullptr; each = each->ai_next) {
        sockaddr_storage raw{};
        std::copy_n(reinterpret_cast<const char*>(each->ai_addr), each->ai_addrlen, reinterpret_cast<char*>(&raw));
        addresses.push_back(base::SocketAddress::from(raw).ip);
    }
    return addresses;
}

// Signals are the main thread's.
class WithoutSignals {
public:
    WithoutSignals() noexcept {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~WithoutSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    WithoutSignals(const WithoutSignals&) = delete;
    WithoutSignals& operator=(const WithoutSignals&) = delete;

private:
    sigset_t before_{};
};

}

struct Lookup::Shared : std::enable_shared_from_this<Shared> {
    Shared(asio::io_context& i, Done d) : io{&i}, work{i.get_executor()}, done{std::move(d)} {}

    void tell(Addresses addresses) {
        std::lock_guard lock{mutex};
        if (!io) return;
        asio::post(*io, [told = done, addresses = std::move(addresses), self = weak_from_this()]() mutable {
            if (auto still = self.lock(); still && still->io) told(std::move(addresses));
        });
        work.reset();
    }

    std::mutex mutex;
    asio::io_context* io;  // null: nobody waits any more
    asio::executor_work_guard<asio::io_context::executor_type> work;
    Done done;
};

Lookup::Lookup(asio::io_context& io, std::string name, Done done)
    : shared_{std::make_shared<Shared>(io, std::move(done))} {
    WithoutSignals while_it_starts;
    try {
        std::thread{[shared = shared_, name = std::move(name)] { shared->tell(ask(name)); }}.detach();
    } catch (const std::system_error& error) {
        shared_->tell(problem("a name", error.what()));
    }
}

Lookup::~Lookup() {
    std::lock_guard lock{shared_->mutex};
    shared_->io = nullptr;
    shared_->work.reset();
    shared_->done = nullptr;
}

}
