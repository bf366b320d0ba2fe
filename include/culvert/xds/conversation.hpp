// SPDX-License-Identifier: Apache-2.0
// Our half of a delta-ADS conversation, from one stream to the next. Pure: bytes in, bytes out; the control thread's.
//
//   a stream opens    begin()   one request a kind, with the versions of what is held
//   a response came   hear()    what it changes, and the request that acknowledges it
//   a name is missed  ask()     a request, where Interest is on_demand
//
// A resource that cannot be read costs only itself: what was held under its name stays, with the version that it had,
// the others are taken on, and the response is answered with the name and the reason. A policy of which no version
// could be read yet is taken on as one that denies, under its name.
#pragma once
#include <array>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include <culvert/base/result.hpp>
#include <culvert/xds/resource.hpp>

namespace culvert::xds {

// Of addresses; policies always come all.
enum class Interest : std::uint8_t { everything, on_demand };

// Who asks: "ztunnel~<ip>~<pod>.<namespace>~<namespace>.svc.cluster.local".
struct Node {
    std::string id;
    std::map<std::string, std::string> metadata;
    std::string root_namespace = "istio-system";         // whose policies are for the whole mesh; istiod is not told
    std::map<std::string, std::string> structured = {};  // more metadata, whose values are JSON; these win
};

struct Limits {
    std::size_t response_bytes = 200u << 20;
    std::size_t resources = 1'000'000;  // of one kind
    std::size_t questions = 10'000;     // that have no answer yet
};

struct Refusal {
    std::string name;
    std::string reason;
};

struct Answer {
    std::string name;  // as it was asked for
    bool found = false;
};

// What a response says.
struct Heard {
    Kind kind = Kind::address;         // of all that follows
    std::size_t resources = 0;         // that it brought
    std::vector<Resource> changed;     // in its order
    std::vector<std::string> removed;  // of what was held
    std::vector<Refusal> refused;
    std::vector<Answer> answers;
    std::string request;  // to be sent once the above is taken on

    bool changes_nothing() const noexcept { return changed.empty() && removed.empty(); }
};

struct Question {
    enum class State : std::uint8_t {
        sent,     // `request` is to be sent
        waiting,  // sent before, not answered yet
        held,     // there is nothing to wait for: istiod does not answer for what it has told us
        refused,  // too many are waiting
    };
    State state;
    std::string request;
};

class Conversation {
public:
    explicit Conversation(Node node, Interest interest = Interest::everything, Limits limits = {});

    // The first requests of a new stream. What is held stays, and names without an answer are asked for again.
    std::vector<std::string> begin();
    // Fails where no answer is possible; end the stream then.
    base::Result<Heard> hear(std::string_view response);
    // A uid, "<network>/<ip>" or "<namespace>/<hostname>".
    Question ask(const std::string& name);
    // The request after which an answered name may be asked for again, as istiod says nothing to who subscribes to
    // what it has subscribed to. Nothing for what is held under that very name: of that istiod goes on to tell.
    std::optional<std::string> settle(const std::string& name) const;
    // The request that takes a question back; nothing, when none was waiting.
    std::optional<std::string> give_up(const std::string& name);

    // Each kind of which all is told was told of once, on any stream.
    bool ready() const noexcept;
    std::size_t held(Kind kind) const noexcept { return versions_[index(kind)].size(); }
    // Of policies that nobody could read yet: denials that were told as changes in their place.
    std::size_t stand_ins() const noexcept { return stand_ins_.size(); }
    const std::set<std::string>& waiting() const noexcept { return waiting_; }

private:
    class Hearing;  // of one response
    static std::size_t index(Kind kind) noexcept { return static_cast<std::size_t>(kind); }

    Node node_;
    Interest interest_;
    Limits limits_;
    std::array<std::map<std::string, std::string>, kinds> versions_;  // by name, of what is held
    std::array<bool, kinds> told_{};
    std::set<std::string> waiting_;    // asked for, without an answer
    std::set<std::string> stand_ins_;  // policies that deny in the place of what could not be read
};

}
