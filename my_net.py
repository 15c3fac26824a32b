import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.conv = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.qkv, self.head = nn.Linear(16, 48), nn.Linear(16, 4)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.conv(x)
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, dim=-1)
        scores = torch.einsum("bic,bjc->bij", q, k).mul(0.25).softmax(dim=-1)
        return self.head(torch.einsum("bij,bjc->bic", scores, v).mean(dim=1))

class Data(LightningDataModule):       # batches of (inputs, targets)
    def val_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(64, 3, 16, 16), torch.arange(64) % 4), batch_size=32)

    train_dataloader = test_dataloader = predict_dataloader = val_dataloader

if __name__ == "__main__":
    torch.manual_seed(0)
    torch.save(Net().state_dict(), "net.pt")  # instead of a training
