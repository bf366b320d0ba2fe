// SPDX-License-Identifier: Apache-2.0
#include <culvert/hbone/pool.hpp>

#include <algorithm>
#include <functional>
#include <map>

#include <culvert/base/over_limit.hpp>
#include <culvert/base/shortage.hpp>
#include <culvert/tls/revocations.hpp>

#include "session.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

// An opener that waits for a tunnel; woken once, in the round in which the tunnel opens, so that its CONNECT leaves
// together with the preface.
struct Waiter : base::AutoListHook {
    explicit Waiter(base::Loop& loop) noexcept : woken{loop} {}
    base::Event woken;
};

// Owns one connection from its dial to its end.
class Tunnel final : public Session::Owner, public std::enable_shared_from_this<Tunnel> {
public:
    Tunnel(const PoolKey& k, tls::CredentialsPtr o, PoolStats& stats, std::function<void(Tunnel&)> on_end)
        : key{k}, own{std::move(o)}, stats_{stats}, on_end_{std::move(on_end)} {}

    void on_open() override {
        opened = true;
        // By the clock that does not jump: what time it is now says how long that is.
        good_until = base::Loop::Clock::now() + (session->peer_good_until() - std::chrono::system_clock::now());
        ++stats_.opened;
        ++stats_.live;
        wake();
    }
    void on_request(Incoming) override {}  // a server cannot: push is off
    void on_closed(const base::Error* why) override { end(why); }

    void end(const base::Error* why) {
        ended = true;
        if (!opened) failure = why ? base::copy_of(*why) : closed_by_peer();
        wake();
        auto alive = shared_from_this();
        on_end_(*this);
    }

    bool opening() const noexcept { return !opened && !ended; }

    const PoolKey key;
    const tls::CredentialsPtr own;
    std::shared_ptr<Session> session;
    std::optional<base::Error> failure;
    bool opened = false;
    bool ended = false;
    bool retired = false;
    bool asked = false;  // somebody has used it: if it ends now, it may have been about to for a while
    base::Loop::Clock::time_point good_until{};  // then the peer's certificate ends
    base::Loop::Clock::time_point looked_at{};   // when the pod was last asked for the address it came from
    base::intrusive::list<Waiter, base::intrusive::constant_time_size<false>> waiters;

private:
    void wake() {
        while (!waiters.empty()) {
            waiters.front().woken.set();
            waiters.pop_front();
        }
    }
    PoolStats& stats_;
    std::function<void(Tunnel&)> on_end_;
};

using TunnelPtr = std::shared_ptr<Tunnel>;

// What a peer most likely allows: nghttp2 sends no more before it knows. What one of its tunnels was told holds for a
// new one, too, so that a burst is not refused twice.
std::uint32_t likely_streams(const std::vector<TunnelPtr>& tunnels) {
    std::uint32_t likely = 100;
    for (const TunnelPtr& t : tunnels)
        if (t->session && !t->ended) likely = std::min(likely, t->session->peer_allows().value_or(likely));
    return likely;
}

// Its openers must not wait for ever.
void end_for_want_of_memory(Tunnel& tunnel) {
    auto why = base::shortage::error();
    if (!tunnel.ended && !tunnel.session) tunnel.end(&why);
}

// Somebody waits for an answer: until the deadline, and with an eye on the tunnel.
class Patience {
public:
    Patience(base::Loop& loop, Dialer& dialer, Tunnel& tunnel, const Settings& settings, base::Event& over)
        : dialer_{dialer},
          tunnel_{tunnel},
          over_{over},
          left_{settings.answer},
          step_{settings.doubt},
          heard_{tunnel.session->heard()},
          timer_{loop, [this] { look(); }} {
        wait();
    }

private:
    void wait() {
        auto now = std::min(left_, step_);
        left_ -= now;
        timer_.arm(now);
    }
    void look() {
        if (left_ <= std::chrono::milliseconds{0}) return over_.set();
        Session& session = *tunnel_.session;
        auto before = std::exchange(heard_, session.heard());
        wait();
        if (heard_ != before) return;
        session.find_silent();
        // It enters the pod's netns: once for all who wait.
        const auto now = base::Loop::Clock::now();
        if (now - tunnel_.looked_at < step_) return;
        tunnel_.looked_at = now;
        if (!dialer_.still_has(tunnel_.key, session.info().local.ip)) session.abort(address_lost());
    }

    Dialer& dialer_;
    Tunnel& tunnel_;
    base::Event& over_;
    std::chrono::milliseconds left_, step_;
    std::uint64_t heard_;
    base::Timer timer_;
};

base::Error draining_error() {
    return base::problem("pool draining");
}

}

class Pool::Impl {
public:
    Impl(base::Loop& loop, Dialer& dialer, const Settings& settings)
        : loop_{loop}, dialer_{dialer}, settings_{settings}, dials_{loop} {
        Session::prepare();
    }
    ~Impl();

    base::Task<base::Result<Stream>> open(PoolKey key, tls::CredentialsPtr own, Request request,
                                          std::vector<std::byte> first);
    bool takes_first_bytes(const PoolKey& key) const noexcept;
    void renew(const tls::CredentialsMap& known);
    void retire(const std::string* pod_uid, bool at_once);
    void drain();

    PoolStats stats;
    std::map<PoolKey, std::vector<TunnelPtr>> peers;

private:
    base::Task<base::Result<TunnelPtr>> tunnel(const PoolKey& key, const tls::CredentialsPtr& own,
                                               const Tunnel* not_this);
    TunnelPtr usable(const PoolKey& key, const tls::CredentialsPtr& own, const Tunnel* not_this);
    bool is_full(const PoolKey& key) const;
    void end_revoked(const PoolKey& key);
    TunnelPtr start(const PoolKey& key, const tls::CredentialsPtr& own);
    base::Task<> dial(TunnelPtr tunnel);
    base::Task<> dial_once(TunnelPtr tunnel);
    base::Task<base::Result<Stream>> ask(Tunnel& tunnel, const Request& request, std::span<const std::byte> first,
                                         bool& unprocessed);
    void ended(Tunnel& tunnel);

    base::Loop& loop_;
    Dialer& dialer_;
    const Settings settings_;
    base::TaskGroup dials_;
    bool draining_ = false;
};

Pool::Impl::~Impl() {
    dials_.cancel_all();
    auto why = drain_error();
    while (!peers.empty()) {
        TunnelPtr last = peers.begin()->second.back();
        last->retired = true;
        if (last->session) {
            last->session->abort(why);
            last->session->disown();  // it may be in the middle of something, and end later in this round
        }
        if (!last->ended) last->end(&why);
    }
}

void Pool::Impl::ended(Tunnel& tunnel) {
    if (tunnel.opened)
        --stats.live;
    else
        ++stats.failed;
    if (tunnel.session && tunnel.session->ping_timed_out()) ++stats.ping_timeouts;
    auto peer = peers.find(tunnel.key);
    CV_CHECK(peer != peers.end(), "a peer stays while it has tunnels");
    std::erase_if(peer->second, [&](const TunnelPtr& t) { return t.get() == &tunnel; });
    if (peer->second.empty()) peers.erase(peer);
}

base::Task<> Pool::Impl::dial(TunnelPtr tunnel) {
    try {
        co_await dial_once(tunnel);
    } catch (const std::bad_alloc&) {
        base::shortage::note("a tunnel");
        end_for_want_of_memory(*tunnel);
    }
}

base::Task<> Pool::Impl::dial_once(TunnelPtr tunnel) {
    auto socket = co_await base::within(loop_, settings_.connect, {}, dialer_.dial(tunnel->key));
    if (tunnel->retired) {
        auto why = draining_error();
        co_return tunnel->end(&why);
    }
    if (!socket) {
        bool late = socket.error().doing.empty() || socket.error().code.value() == ETIMEDOUT;
        auto why = late ? dial_timeout(tunnel->key.peer) : dial_error(socket.error());
        co_return tunnel->end(&why);
    }
    auto channel = tls::Channel::client(tunnel->own, tunnel->key.accepted);
    if (!channel) {
        auto why = channel.error();
        co_return tunnel->end(&why);
    }
    tunnel->session = Session::start(Role::client, std::move(*socket), std::move(*channel), settings_, *tunnel);
}

bool Pool::Impl::is_full(const PoolKey& key) const {
    auto peer = peers.find(key);
    return peer != peers.end() && peer->second.size() >= settings_.pool_tunnels;
}

TunnelPtr Pool::Impl::start(const PoolKey& key, const tls::CredentialsPtr& own) {
    auto made = std::make_shared<Tunnel>(key, own, stats, [this](Tunnel& tunnel) { ended(tunnel); });
    auto& tunnels = peers[key];
    base::shortage::guard(
        "a tunnel", [&] { tunnels.push_back(made); },
        [&] {
            if (tunnels.empty()) peers.erase(key);
            throw std::bad_alloc{};
        });
    base::shortage::guard(
        "a tunnel", [&] { dials_.spawn(dial(made)); }, [&] { end_for_want_of_memory(*made); });
    return made;
}

// Nothing new goes to a peer whose certificate has been taken back, and what is on its way ends with the tunnel.
void Pool::Impl::end_revoked(const PoolKey& key) {
    if (!tls::Revocations::in_force()) return;
    std::vector<TunnelPtr> revoked;
    if (auto peer = peers.find(key); peer != peers.end())
        for (const TunnelPtr& t : peer->second)
            if (t->opened && !t->ended && t->session->peer_is_revoked()) revoked.push_back(t);
    for (const TunnelPtr& t : revoked) t->session->abort(peer_revoked());
}

TunnelPtr Pool::Impl::usable(const PoolKey& key, const tls::CredentialsPtr& own, const Tunnel* not_this) {
    auto peer = peers.find(key);
    if (peer == peers.end()) return nullptr;
    TunnelPtr opening, second_best;
    const std::uint32_t likely = likely_streams(peer->second);
    std::vector<Session*> outdated;
    const auto now = base::Loop::Clock::now();
    for (const TunnelPtr& t : peer->second) {
        if (t.get() == not_this || t->retired || t->ended) continue;
        if (t->own != own || (t->opened && now >= t->good_until)) {
            if (t->opened) outdated.push_back(t->session.get());  // else it still has its own openers to serve
        } else if (t->opening()) {
            opening = t;
        } else if (t->session->takes_streams(likely)) {
            if (!t->session->crowded() && !t->session->doubtful()) return t;
            if (!second_best || !t->session->doubtful()) second_best = t;
        }
    }
    for (Session* session : outdated) session->drain();
    if (!opening && peer->second.size() >= settings_.pool_tunnels_when_crowded) return second_best;
    return opening;
}

base::Task<base::Result<TunnelPtr>> Pool::Impl::tunnel(const PoolKey& key, const tls::CredentialsPtr& own,
                                                       const Tunnel* not_this) {
    for (;;) {
        if (draining_) co_return draining_error();
        end_revoked(key);
        TunnelPtr found = usable(key, own, not_this);
        if (!found && is_full(key)) co_return base::over_limit("tunnels to this peer");
        if (!found) found = start(key, own);
        if (found->opened && !found->ended) co_return found;
        if (!found->ended) {
            Waiter waiter{loop_};
            found->waiters.push_back(waiter);
            co_await waiter.woken;
        }
        if (found->failure) co_return *found->failure;
        if (found->retired) co_return draining_error();
    }
}

base::Task<base::Result<Stream>> Pool::Impl::ask(Tunnel& tunnel, const Request& request,
                                                 std::span<const std::byte> first, bool& unprocessed) {
    auto impl = tunnel.session->request(request, first);
    if (!impl) co_return impl.error();
    Stream stream{*impl};
    base::Event answered{loop_};
    Patience patience{loop_, dialer_, tunnel, settings_, answered};
    (*impl)->answered = &answered;
    co_await answered;
    (*impl)->answered = nullptr;
    unprocessed = (*impl)->unprocessed;
    if ((*impl)->status == 200) co_return std::move(stream);
    if ((*impl)->status >= 200) co_return status_error((*impl)->status);
    if ((*impl)->failure) co_return *(*impl)->failure;
    co_return h2_error("deadline has elapsed before the peer's answer");
}

bool Pool::Impl::takes_first_bytes(const PoolKey& key) const noexcept {
    auto peer = peers.find(key);
    if (peer == peers.end()) return false;
    return std::ranges::any_of(peer->second, [](const TunnelPtr& t) {
        return t->opened && !t->ended && t->session->peer_takes_first_bytes();
    });
}

base::Task<base::Result<Stream>> Pool::Impl::open(PoolKey key, tls::CredentialsPtr own, Request request,
                                                  std::vector<std::byte> first) {
    TunnelPtr refused;
    for (;;) {
        auto found = co_await tunnel(key, own, refused.get());
        if (!found) co_return found.error();
        bool warm = std::exchange((*found)->asked, true);
        bool unprocessed = false;
        const bool said = !first.empty() && (*found)->session->peer_takes_first_bytes();
        auto stream = co_await ask(**found, request, first, unprocessed);
        if (stream) ++stats.streams;
        // A warm tunnel that ends before any answer has carried nothing of this connection either, unless first bytes
        // went with the request: the far app may have read them, and must not be told twice.
        bool again = unprocessed || (warm && !said && !stream && (*found)->ended && !(*found)->retired);
        if (stream || refused || !again) co_return stream;
        refused = std::move(*found);
    }
}

void Pool::Impl::renew(const tls::CredentialsMap& known) {
    std::vector<TunnelPtr> outdated;
    for (const auto& [key, tunnels] : peers) {
        auto now = known.find(key.source);
        if (now == known.end() || !now->second.good()) continue;
        // One that nobody has asked yet has openers, who are about to.
        for (const TunnelPtr& t : tunnels)
            if (t->own != now->second.current && t->asked && !t->ended) outdated.push_back(t);
    }
    for (const TunnelPtr& t : outdated) t->session->drain();
}

void Pool::Impl::retire(const std::string* pod_uid, bool at_once) {
    std::vector<TunnelPtr> going;
    for (auto& [key, tunnels] : peers)
        if (!pod_uid || key.pod_uid == *pod_uid) going.insert(going.end(), tunnels.begin(), tunnels.end());
    for (const TunnelPtr& t : going) {
        t->retired = true;
        if (t->session && at_once)
            t->session->abort(drain_error());
        else if (t->session)
            t->session->drain();
    }
}

void Pool::Impl::drain() {
    draining_ = true;
    retire(nullptr, false);
}

Pool::Pool(base::Loop& loop, Dialer& dialer, const Settings& settings)
    : impl_{std::make_unique<Impl>(loop, dialer, settings)} {}
Pool::~Pool() = default;

base::Task<base::Result<Stream>> Pool::open(PoolKey key, tls::CredentialsPtr own, Request request,
                                            std::vector<std::byte> first) {
    return impl_->open(std::move(key), std::move(own), std::move(request), std::move(first));
}

bool Pool::takes_first_bytes(const PoolKey& key) const noexcept {
    return impl_->takes_first_bytes(key);
}

void Pool::renew(const tls::CredentialsMap& known) {
    impl_->renew(known);
}
void Pool::retire(const std::string& pod_uid, bool at_once) {
    impl_->retire(&pod_uid, at_once);
}
void Pool::drain() {
    impl_->drain();
}
bool Pool::empty() const noexcept {
    return impl_->peers.empty();
}
const PoolStats& Pool::stats() const noexcept {
    return impl_->stats;
}

void prepare_tunnels_of_this_thread() {
    (void)Buffers::of_this_thread();
}

}
