// SPDX-License-Identifier: Apache-2.0
#include "prepared.hpp"

#include <bpf/bpf.h>

#include <memory>
#include <string_view>

#include <culvert/base/log.hpp>

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

constexpr const char* licence = "Dual BSD/GPL";  // as bpf/*.bpf.c say

constexpr std::uint32_t log_size = (1u << 24) - 1;  // the most that every kernel takes
constexpr std::size_t log_shown = 2048;             // it ends with the reason

// The first of the two instructions that load a 64-bit number, an address of a map among others.
bool loads_wide(const bpf_insn& instruction) {
    return instruction.code == (BPF_LD | BPF_IMM | BPF_DW);
}

Result<bpf_map_info> inspect(int map) {
    bpf_map_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(map, &info, &size) != 0) return base::errno_while("inspect a map");
    return info;
}

Result<Fd> create(const bpf_map_info& like, int types) {
    bpf_map_create_opts options{};
    options.sz = sizeof options;
    options.map_flags = like.map_flags;
    if (like.btf_id != 0) {
        options.btf_fd = static_cast<__u32>(types);
        options.btf_key_type_id = like.btf_key_type_id;
        options.btf_value_type_id = like.btf_value_type_id;
    }
    Fd map{bpf_map_create(static_cast<bpf_map_type>(like.type), like.name, like.key_size, like.value_size,
                          like.max_entries, &options)};
    if (!map) return base::errno_while(std::string{"create map "} + like.name);
    return map;
}

void log_last_lines(const std::string& program, std::string_view text) {
    while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    if (text.empty()) return;
    if (text.size() > log_shown) text.remove_prefix(text.size() - log_shown);
    base::log::error("capture", "{}: the verifier says: {}", program, text);
}

}

Result<PreparedProgram> PreparedProgram::from(const bpf_program* program, OwnMaps pattern,
                                              const std::map<int, int>& kept) {
    PreparedProgram prepared;
    prepared.name_ = bpf_program__name(program);
    prepared.type_ = bpf_program__type(program);
    prepared.expected_attach_type_ = bpf_program__expected_attach_type(program);
    const bpf_insn* instructions = bpf_program__insns(program);
    prepared.instructions_.assign(instructions, instructions + bpf_program__insn_cnt(program));

    for (std::size_t i = 0; i < prepared.instructions_.size(); ++i) {
        bpf_insn& instruction = prepared.instructions_[i];
        if (!loads_wide(instruction)) continue;
        bool of_map = instruction.src_reg == BPF_PSEUDO_MAP_FD || instruction.src_reg == BPF_PSEUDO_MAP_VALUE;
        // A callback, for one: it would need the types that copies are loaded without.
        if (!of_map && instruction.src_reg != 0)
            return base::problem(prepared.name_ + " refers to something that its copies cannot carry");
        if (of_map && instruction.imm == pattern.constants) prepared.places_.push_back({i, &OwnMaps::constants});
        if (of_map && instruction.imm == pattern.listeners) prepared.places_.push_back({i, &OwnMaps::listeners});
        if (auto other = kept.find(instruction.imm); of_map && other != kept.end()) instruction.imm = other->second;
        ++i;  // the second half may look like anything
    }
    return prepared;
}

Result<Fd> PreparedProgram::load(OwnMaps maps) const {
    std::vector<bpf_insn> instructions = instructions_;
    for (const Place& place : places_) instructions[place.instruction].imm = maps.*place.map;

    // The kernel gets to see it only when it has refused the program: libbpf asks again, for the reasons.
    auto text = std::make_unique_for_overwrite<char[]>(log_size);
    text[0] = '\0';
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    options.expected_attach_type = expected_attach_type_;
    options.log_buf = text.get();
    options.log_size = log_size;
    Fd program{bpf_prog_load(type_, name_.c_str(), licence, instructions.data(), instructions.size(), &options)};
    if (program) return program;
    auto failed = base::errno_while("load " + name_);
    log_last_lines(name_, text.get());
    return failed;
}

Result<Fd> map_like(int pattern, int types, std::uint32_t entries) {
    auto info = inspect(pattern);
    if (!info) return info.error();
    info->max_entries = entries;
    return create(*info, types);
}

Result<Fd> constants_like(int pattern, int types, const void* value) {
    auto info = inspect(pattern);
    if (!info) return info.error();
    info->map_flags &= ~static_cast<__u32>(BPF_F_MMAPABLE);  // libbpf's way to fill it, two pages a pod
    auto made = create(*info, types);
    if (!made) return made;
    std::uint32_t row = 0;
    if (bpf_map_update_elem(made->get(), &row, value, BPF_ANY) != 0 || bpf_map_freeze(made->get()) != 0)
        return base::errno_while("fill a pod's constants");
    return made;
}

}
