// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @title Checkpoints of transparency logs (RFC 6962, C2SP tlog-checkpoint), each proved to extend the one before.
/// @notice A log is named by the SHA-256 of its origin. Whoever deployed the contract is the only one who can post,
/// and not even they can post a fork: RFC 9162's consistency proof is verified here. There is no other privilege, no
/// upgrade and no way to change or remove a checkpoint. A poster whose key is lost or stolen deploys another contract.
contract SealdexAnchor {
    struct Checkpoint {
        bytes32 root;
        uint64 time;
    }

    /// @notice Who may post: whoever deployed the contract.
    address public immutable poster;

    /// Entries in the latest checkpoint of each log; 0 if there is none.
    mapping(bytes32 log => uint64 size) private sizes;
    /// Time 0 if there is none of that size.
    mapping(bytes32 log => mapping(uint64 size => Checkpoint)) private checkpoints;

    /// @notice The log `log` has `size` entries under `root`, and they begin with all that was anchored before.
    event Anchored(bytes32 indexed log, uint64 indexed size, bytes32 root);

    /// The caller is not the poster.
    error NotPoster();
    /// The log already has a checkpoint of `anchored` entries, and the one posted has no more (or has none).
    error NotNewer(uint64 anchored);
    /// The proof does not show that the checkpoint of `anchored` entries is a prefix of the one posted.
    error Inconsistent(uint64 anchored);
    /// The log has no checkpoint of this size.
    error UnknownCheckpoint(uint64 size);

    constructor() {
        poster = msg.sender;
    }

    /// @notice Anchors a checkpoint that extends the latest one.
    /// @param proof RFC 9162 section 2.1.4 from the latest checkpoint; empty if this is the first of its log.
    function post(bytes32 log, uint64 size, bytes32 root, bytes32[] calldata proof) external {
        require(msg.sender == poster, NotPoster());
        uint64 old = sizes[log];
        require(size > old, NotNewer(old));
        bool holds = old == 0
            ? proof.length == 0
            : consistent(old, checkpoints[log][old].root, size, root, proof);
        require(holds, Inconsistent(old));
        sizes[log] = size;
        checkpoints[log][size] = Checkpoint(root, uint64(block.timestamp));
        emit Anchored(log, size, root);
    }

    /// @notice The latest checkpoint and when it was anchored; zeros if the log has none.
    function latest(bytes32 log) external view returns (uint64 size, bytes32 root, uint64 time) {
        size = sizes[log];
        Checkpoint storage found = checkpoints[log][size];
        (root, time) = (found.root, found.time);
    }

    /// @notice The checkpoint of exactly `size` entries and when it was anchored.
    function rootAt(bytes32 log, uint64 size) public view returns (bytes32 root, uint64 time) {
        Checkpoint storage found = checkpoints[log][size];
        (root, time) = (found.root, found.time);
        require(time != 0, UnknownCheckpoint(size));
    }

    /// @notice Whether the entry with this leaf hash is number `index` (from 0) of the checkpoint of `size` entries.
    /// @param leafHash SHA-256 of a zero byte and the entry.
    /// @param proof RFC 9162 section 2.1.3, leaf upwards.
    function verifyInclusion(bytes32 log, uint64 size, bytes32 leafHash, uint64 index, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        (bytes32 root,) = rootAt(log, size);
        if (index >= size) return false;
        // Where the leaf's path and the tree's right edge are, level by level.
        (uint256 path, uint256 edge) = (index, size - 1);
        bytes32 hash = leafHash;
        for (uint256 i = 0; i < proof.length; i++) {
            if (edge == 0) return false;
            if (path & 1 == 1 || path == edge) {
                hash = node(proof[i], hash);
                (path, edge) = toLeftSibling(path, edge);
            } else {
                hash = node(hash, proof[i]);
            }
            (path, edge) = (path >> 1, edge >> 1);
        }
        return edge == 0 && hash == root;
    }

    /// RFC 9162 section 2.1.4.2, for 0 < oldSize < newSize.
    function consistent(uint64 oldSize, bytes32 oldRoot, uint64 newSize, bytes32 newRoot, bytes32[] calldata proof)
        private
        view
        returns (bool)
    {
        (uint256 path, uint256 edge) = (oldSize - 1, newSize - 1);
        while (path & 1 == 1) (path, edge) = (path >> 1, edge >> 1);
        // Both trees are climbed from the old one's last complete subtree, which is the whole of it if path is 0.
        bytes32 oldHash = oldRoot;
        uint256 i = 0;
        if (path != 0) {
            if (proof.length == 0) return false;
            oldHash = proof[i++];
        }
        bytes32 newHash = oldHash;
        for (; i < proof.length; i++) {
            if (edge == 0) return false;
            bytes32 sibling = proof[i];
            if (path & 1 == 1 || path == edge) {
                oldHash = node(sibling, oldHash);
                newHash = node(sibling, newHash);
                (path, edge) = toLeftSibling(path, edge);
            } else {
                newHash = node(newHash, sibling);
            }
            (path, edge) = (path >> 1, edge >> 1);
        }
        return edge == 0 && oldHash == oldRoot && newHash == newRoot;
    }

    /// Climbs levels on which the right edge has no sibling, up to one where it is a right child.
    function toLeftSibling(uint256 path, uint256 edge) private pure returns (uint256, uint256) {
        while (path & 1 == 0 && path != 0) (path, edge) = (path >> 1, edge >> 1);
        return (path, edge);
    }

    /// `sha256(bytes.concat(hex"01", left, right))` for less than half the gas; the precompile is at 2.
    function node(bytes32 left, bytes32 right) private view returns (bytes32 hash) {
        bool done;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 1)
            mstore(add(free, 1), left)
            mstore(add(free, 33), right)
            done := staticcall(gas(), 2, free, 65, 0, 32)
            hash := mload(0)
        }
        require(done);
    }
}
