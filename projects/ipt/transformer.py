"""The body of IPT: an encoder and a decoder over the patches of a feature map, with one learned query for each task.

"Pre-Trained Image Processing Transformer" (arXiv 2012.00364), section 3.1, as its released code has it: pre-norm
layers, attention without biases, no norm behind either stack, the decoder's memory not normed (the paper's equations
norm it), and the task query added to queries and keys of both attentions of each decoder layer. Parameter names are
those of the released weights.

Attention is `torch.nn.MultiheadAttention`, which runs torch's fused `scaled_dot_product_attention` in training and in
testing. Tokens are (batch, tokens, channels) here; the released code puts the tokens first.

Departure: the released (test-only) PyTorch code copies one initialised layer to all depths, so that layers start
equal, and draws the decoder's projections by another rule. Here each layer is drawn on its own, all weights
uniform within 1/sqrt(fan-in), as in the released MindSpore training code.
"""

import math

from torch import arange, nn
from torch.nn import functional as F


class Attention(nn.MultiheadAttention):
    """Multi-head attention without biases, batch first, that returns the output alone."""

    def __init__(self, channels, num_heads, dropout=0.0):
        super().__init__(channels, num_heads, dropout, bias=False, batch_first=True)
        nn.init.kaiming_uniform_(self.in_proj_weight, a=math.sqrt(5))

    def forward(self, query, key, value):
        return super().forward(query, key, value, need_weights=False)[0]


def _norm(channels, no_norm):
    return nn.Identity() if no_norm else nn.LayerNorm(channels)


class EncoderLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each behind a norm and with a skip around it.

    Args:
        channels (int): Channels of a token.
        num_heads (int): Heads of the attention.
        hidden (int): Channels inside the perceptron.
        dropout (float): Probability, in attention, perceptron and behind both.
        no_norm (bool): Leave the norms out.
    """

    def __init__(self, channels, num_heads, hidden, dropout=0.0, no_norm=False):
        super().__init__()
        self.self_attn = Attention(channels, num_heads, dropout)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1, self.norm2 = _norm(channels, no_norm), _norm(channels, no_norm)
        self.dropout = nn.Dropout(dropout)

    def feed_forward(self, x):
        """The perceptron."""
        return self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))

    def forward(self, x, pos=None):
        """(B, N, C) to (B, N, C); `pos` (N, C) is added to queries and keys."""
        value = self.norm1(x)
        query = _plus(value, pos)
        x = x + self.dropout(self.self_attn(query, query, value))
        return x + self.feed_forward(self.norm2(x))


class DecoderLayer(EncoderLayer):
    """Self-attention, attention to the encoder's output, perceptron. Arguments are those of :class:`EncoderLayer`."""

    def __init__(self, channels, num_heads, hidden, dropout=0.0, no_norm=False):
        super().__init__(channels, num_heads, hidden, dropout, no_norm)
        self.multihead_attn = Attention(channels, num_heads, dropout)
        self.norm3 = _norm(channels, no_norm)

    def forward(self, x, memory, pos=None, query_pos=None):
        """(B, N, C) to (B, N, C); `query_pos` (N, C) is the task's query, `pos` is added to the memory's keys."""
        value = self.norm1(x)
        query = _plus(value, query_pos)
        x = x + self.dropout(self.self_attn(query, query, value))
        query = _plus(self.norm2(x), query_pos)
        x = x + self.dropout(self.multihead_attn(query, _plus(memory, pos), memory))
        return x + self.feed_forward(self.norm3(x))


def _plus(x, added):
    return x if added is None else x + added


class Stack(nn.Module):
    """Layers one after the other, all with the same further arguments."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x, *args, **kwargs):
        for layer in self.layers:
            x = layer(x, *args, **kwargs)
        return x


class LearnedPosition(nn.Module):
    """One vector for each token, (N, C)."""

    def __init__(self, tokens, channels):
        super().__init__()
        self.pe = nn.Embedding(tokens, channels)
        self.register_buffer('position_ids', arange(tokens)[None])

    def forward(self):
        return self.pe.weight


class TransformerBody(nn.Module):
    """Feature map to feature map, through tokens of `patch_dim` x `patch_dim` positions that do not overlap.

    Args:
        num_tasks (int): Task queries.
        n_feats (int): Channels of the feature map.
        patch_size (int): Its height and width, a multiple of `patch_dim`.
        patch_dim (int): Side of a token.
        num_heads, num_layers (int): Heads; layers of the encoder, and of the decoder.
        dropout (float): Probability.
        no_mlp (bool): Leave out the token projections before and behind, and the task queries.
        no_pos (bool): Leave out the positions.
        pos_every (bool): Add the positions in each layer, to the encoder's queries and keys and to the memory's keys,
            and not once in front.
        no_norm (bool): Leave out the norms; linear weights are then drawn with standard deviation 1 / fan-in.
    """

    def __init__(self, num_tasks, n_feats, patch_size, patch_dim, num_heads, num_layers, dropout=0.0, no_mlp=False,
                 no_pos=False, pos_every=False, no_norm=False):
        super().__init__()
        self.patch_size, self.patch_dim = patch_size, patch_dim
        self.no_mlp, self.pos_every = no_mlp, pos_every
        tokens, channels = (patch_size // patch_dim) ** 2, n_feats * patch_dim ** 2
        hidden = 4 * channels
        if not no_mlp:
            self.linear_encoding = nn.Linear(channels, channels)
            self.mlp_head = nn.Sequential(nn.Linear(channels, hidden), nn.Dropout(dropout), nn.ReLU(inplace=True),
                                          nn.Linear(hidden, channels), nn.Dropout(dropout))
            self.query_embed = nn.Embedding(num_tasks, tokens * channels)
        self.encoder, self.decoder = (
            Stack(layer(channels, num_heads, hidden, dropout, no_norm) for _ in range(num_layers))
            for layer in (EncoderLayer, DecoderLayer))
        self.position_encoding = None if no_pos else LearnedPosition(tokens, channels)
        self.dropout = nn.Dropout(dropout)
        if no_norm:
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=1 / layer.in_features)

    def tokens(self, x, task):
        """(B, n_feats, H, W) to the decoder's tokens (B, N, C), those of the contrastive loss.

        Channels of a token are in the order of `torch.nn.functional.unfold`, tokens row by row.
        """
        x = F.unfold(x, self.patch_dim, stride=self.patch_dim).mT
        query = None
        if not self.no_mlp:
            x = x + self.dropout(self.linear_encoding(x))
            query = self.query_embed.weight[task].view(x.shape[1:])
        pos = self.position_encoding() if self.position_encoding is not None else None
        every = pos if self.pos_every else None
        memory = self.encoder(x if self.pos_every else _plus(x, pos), pos=every)
        x = self.decoder(memory, memory, pos=every, query_pos=query)
        return x if self.no_mlp else x + self.mlp_head(x)

    def to_map(self, tokens):
        """Tokens (B, N, C) back to a feature map (B, n_feats, H, W)."""
        return F.fold(tokens.mT, (self.patch_size,) * 2, self.patch_dim, stride=self.patch_dim)

    def forward(self, x, task):
        """(B, n_feats, H, W) to (B, n_feats, H, W), for the task of this index."""
        return self.to_map(self.tokens(x, task))
